// Everything around the model, and the interpreter of programs.
#pragma once

#include <memory>

#include "devices.h"
#include "pio.h"
#include "ports.h"
#include "sharing/agents.h"
#include "signals.h"
#ifdef IOVIRT_HAS_REQUEST
#include "remap.h"
#endif
#if defined(IOVIRT_VCD)
#include "verilated_vcd_c.h"
using Waves = VerilatedVcdC;
#elif defined(IOVIRT_FST)
#include "verilated_fst_c.h"
using Waves = VerilatedFstC;
#endif

// The first word of an operation: {opcode 8, words 24, argument 32}.
enum Opcode : u8 {
    OP_RESET = 1, OP_RUN, OP_MEMORY_WRITE, OP_MEMORY_READ, OP_MEMORY_CLEAR, OP_BACKGROUND, OP_FAIL,
    OP_CSR_WRITE, OP_CSR_READ, OP_CSR_POLL, OP_TRANSLATE, OP_DMA, OP_TLP, OP_WAIT, OP_COMMAND_RING,
    OP_COMMAND, OP_COMMAND_WAIT, OP_SET, OP_ALLOW, OP_CLASSIFY, OP_FORGET, OP_MARK, OP_TABLE_WRITES,
    OP_PIO, OP_WINDOW, OP_FUNCTION, OP_RULE, OP_RELEASE, OP_BAR_WRITE, OP_BAR_READ, OP_SIGNAL, OP_RING,
    OP_TOLERATE, OP_AGENT,
};

Tlp make_tlp(const u64* op, u64 length, u32 number);

// Tells whose TLP it is.
class Traffic : public TlpListener {
  public:
    Traffic(Transfers& transfers, Devices& devices, Signals& signals, Agents& agents,
            Settings& settings)
        : transfers_(transfers), devices_(devices), signals_(signals), agents_(agents),
          settings_(settings) {}

    bool may_send(const Tlp& tlp) override {
        if (tlp.kind != TLP_DEVICE) return transfers_.may_send(tlp);
        return !tlp.header.non_posted() || (transfers_.credit_left() && agents_.may_send(tlp));
    }
    void starting(Tlp& tlp) override {
        if (tlp.kind == TLP_TRANSFER) transfers_.starting(tlp);
        if (tlp.kind == TLP_SIGNAL) signals_.starting(tlp);
        if (tlp.kind != TLP_DEVICE) return;
        if (tlp.header.non_posted()) transfers_.take_credit();
        agents_.starting(tlp);
    }
    void taken(Tlp& tlp, u64 cycle) override {
        if (tlp.kind == TLP_TRANSFER) transfers_.taken(tlp, cycle);
    }
    void sent(Tlp& tlp, u64 cycle) override {
        if (tlp.kind == TLP_TRANSFER) transfers_.sent(tlp, cycle);
        if (tlp.kind == TLP_SIGNAL) signals_.sent(tlp, cycle);
        if (tlp.kind == TLP_ANSWER) devices_.sent(tlp, cycle);
        if (tlp.kind == TLP_DEVICE) agents_.sent(tlp);
    }
    void received(Tlp& tlp, u64 cycle) override {
        if (!settings_.link_up) return;   // the core drops it
        bool request = !tlp.header.completion();
        if (!request && agents_.completed(tlp)) return;
        bool known = request && devices_.received(tlp, cycle);
        if (!known || settings_.report_requests) transfers_.received(tlp, cycle);
    }

  private:
    Transfers& transfers_;
    Devices& devices_;
    Signals& signals_;
    Agents& agents_;
    Settings& settings_;
};

// What looks at the table port.
class TableObserver : public AxiObserver {
  public:
    TableObserver(Walks& walks, Signals& signals) : walks_(walks), signals_(signals) {}

    void read_issued(AxiRead& read) override { walks_.read_issued(read); }
    void read_beat(AxiRead& read, u64 at, const u8* bytes, unsigned count, Resp resp) override {
        walks_.read_beat(read, at, bytes, count, resp);
    }
    void write_assembled(AxiWrite& write) override { signals_.assembled(write); }
    void write_committed(AxiWrite& write) override {
        walks_.write_committed(write);
        signals_.committed(write, walks_.now);
    }

  private:
    Walks& walks_;
    Signals& signals_;
};

class Bench {
  public:
    explicit Bench(const char* waves);
    ~Bench();

    // Executes `count` words. Returns the number of errors seen since the last call to `clear`.
    u64 run(const u64* program, u64 count);

    Settings settings;
    Statistics statistics;
    Errors errors;
    Events events;

  private:
    void cycle();
    void reset(u64 clocks);
    bool execute(const u64* op, u32 argument, u64 length);   // false: not finished, try again
    bool dma(const u64* op, u32 argument, u64 length);
    bool tlp(const u64* op, u32 argument, u64 length);
    bool pio(const u64* op, u32 argument, u64 length);
    bool signal(const u64* op, u32 argument, u64 length);
    bool device(const u64* op, u32 argument, u64 length);
    void function(const u64* op, u32 argument, u64 length);
    void rule(const u64* op, u32 argument);
    void ring(const u64* op, u32 argument);
    bool translate(const u64* op, u32 argument);
    bool csr(const u64* op, u32 argument, bool write);
    bool poll(const u64* op, u32 argument);
    bool command(const u64* op);
    bool command_wait(const u64* op, u32 argument);
    bool wait(const u64* op, u32 argument);
    bool stuck(u64 limit);
    u64 progress() const;
    u64 outstanding() const;
    u64 outstanding(u16 group) const;
    u64 irq_wires();
    void change_link();
    void connect_agents();

    VerilatedContext context_;
    Model model_;
    Random random_;
    Memory memory_;
    Walks walks_;
    Transfers transfers_;
    Accesses accesses_;
    Devices devices_;
    Signals signals_;
    Agents agents_;
    Traffic traffic_;
    TableObserver observer_;
    AxiSubordinate<TablePort> table_;
    SharedCsr<CsrPort> csr_;
    Registers& program_;
#ifdef IOVIRT_HAS_DMA
    AxiSubordinate<DmaPort> dma_;
#endif
#ifdef IOVIRT_HAS_RX
    TlpSource<RxPort> source_;
    TlpSink<TxPort> sink_;
#endif
#ifdef IOVIRT_HAS_PIO
    PioManager<PioPort> pio_;
#endif
#ifdef IOVIRT_HAS_REQUEST
    RemapDriver remap_;
#endif
#if defined(IOVIRT_VCD) || defined(IOVIRT_FST)
    std::unique_ptr<Waves> waves_;
#endif
    u64 now_ = 0;
    u32 op_ = 0;
    bool link_ = true;
    // Of the operation under way.
    unsigned step_ = 0;
    u64 started_ = 0, last_progress_ = 0, progress_at_ = 0;
    // Command queue.
    u64 ring_ = 0, tail_ = 0, head_ = 0, entries_ = 0;
};
