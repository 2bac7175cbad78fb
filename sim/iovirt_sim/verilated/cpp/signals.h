// Interrupts of devices, the rings that their records come to, and the software that reads those.
#pragma once

#include <array>
#include <map>
#include <memory>

#include "shared_csr.h"
#include "transfers.h"

// One interrupt, by MSI or message, on its way.
struct Signal {
    enum Kind : u8 { UNTRACKED, RECORD, FORWARD };

    u32 op = NO_OP, data = 0;
    u16 group = 0, rid = 0, index = 0;
    u8 segment = 0, kind = UNTRACKED;
    bool check_data = true;
    u64 address = 0;              // that it is forwarded to
    u64 writes_before = 0;        // of its source
    u64 taken = 0;                // cycle; 0: not yet
};

// An event queue, as its reader sees it.
struct Ring {
    // When records are read: never, every `pause` clocks, after an MSI, after a wire.
    enum Service : u8 { MANUAL, POLL, NOTIFIED, WIRE };
    struct Slot {
        bool visible = false;
        u64 at = 0, answered = 0;   // cycle; writes of the source answered when it was issued
    };

    u32 op = NO_OP;
    u64 base = 0, registers = 0;    // of memory, and of its guest's page
    u64 notify = 0, clear = 0;      // address of its MSI; register that clears its wire
    unsigned log2 = 1, wire = 0;
    u8 service = MANUAL;
    bool report = false, told = false, more = false, found = false;
    u32 pause = 1, burst = ~u32(0);
    u32 next = 0, freed = 0;        // counts: to read, given back
    u64 resume = 0;
    std::vector<Slot> slots;

    u64 size() const { return u64(1) << log2; }
    u64 address(u32 count) const { return base + (count & (size() - 1)) * 32; }
    bool holds(u64 at) const { return at >= base && at - base < size() * 32; }
    Slot& slot(u32 count) { return slots[count & (size() - 1)]; }
};

class Signals {
  public:
    // Registers in the page of a guest.
    static constexpr u64 HEAD = 0, ARM = 8, TAIL = 24;

    Signals(Statistics& statistics, Settings& settings, Errors& errors, Events& events,
            Transfers& transfers, Memory& memory)
        : statistics_(statistics), settings_(settings), errors_(errors), events_(events),
          transfers_(transfers), memory_(memory) {}

    Groups groups;
    std::function<void(Tlp&&)> send;
    std::function<void(unsigned index)> consumed;   // a record was read

    void start(Signal&& signal, Tlp&& tlp);
    void starting(Tlp& tlp);
    void sent(Tlp& tlp, u64 cycle);
    void ring(u32 queue, const Ring& ring);
    // Records of this index come without a TLP of ours.
    void tolerate(u16 index) { tolerated_.push_back(index); }

    void assembled(const AxiWrite& write);
    void committed(const AxiWrite& write, u64 cycle);
    void step(Registers& registers, u64 wires, u64 cycle);

    std::string describe_oldest() const;
    void reset();

  private:
    enum Step : u8 { IDLE, CLEAR, TAIL_READ, HEAD_WRITTEN, ARMED };
    struct Forwarded {
        std::deque<Signal*> waiting;
        u64 sent = 0, written = 0, covered = 0;
    };
    using Record = std::array<u64, 4>;

    void final_parts(const AxiWrite& write, const std::function<void(u32, Ring&, u64)>& found);
    void forward(const AxiWrite& write);
    bool wants(Ring& ring, u64 wires, u64 cycle);
    u32 visible(Ring& ring, u32 most);
    void consume(u32 queue, Ring& ring, u32 count, u64 cycle);
    void match(u32 queue, const Record& record, u64 answered, u64 cycle);
    void finish(Signal* signal, u64 answered, const char* what);
    static std::string text(const Signal& signal);

    Statistics& statistics_;
    Settings& settings_;
    Errors& errors_;
    Events& events_;
    Transfers& transfers_;
    Memory& memory_;
    std::map<Signal*, std::unique_ptr<Signal>> live_;
    std::map<u16, std::deque<Signal*>> by_index_;
    std::map<std::pair<u64, u32>, Forwarded> forwarded_;   // by address and data
    std::vector<u16> tolerated_;
    std::map<u32, Ring> rings_;
    Step step_ = IDLE;
    u32 serving_ = 0;
};
