// Programmed I/O: what cores asked for, what reached devices of it, and what came back.
#pragma once

#include <map>
#include <memory>

#include "transfers.h"

// What must become of an access.
enum Expect : u8 {
    EXPECT_AUTO,      // what the device says: its data, or all ones, or an error
    EXPECT_ONES,      // reads give all ones; writes are dropped; OKAY
    EXPECT_ERROR,     // SLVERR
    EXPECT_POISON,    // RUSER[0], OKAY
    EXPECT_ANY,
    EXPECT_DECERR,
};

struct Access {
    u32 op = NO_OP;
    u16 group = 0;
    bool write = false, report = false;
    u8 expect = EXPECT_AUTO, burst = 1;
    u64 address = 0, size = 4;   // bytes per beat
    unsigned beats = 1, id = 0;
    std::vector<u8> data, enabled;   // of each byte from `address` on

    u64 beat_address(unsigned n) const { return n ? (address & ~(size - 1)) + n * size : address; }

    // What the bench knows of it.
    enum State : u8 { IDLE, ASKED, GOOD, FAILED, RETRIED };   // the last may be asked for again
    u64 number = 0, target = 0;
    bool configuration = false, has_target = false, ambiguous = false, finished = false;
    std::vector<u8> state, captured;
    u64 offered = 0, accepted = 0, asked = 0, answered = 0, responded = 0, stamp = 0;
    unsigned tlps = 0, left = 0, resp = 0, beat = 0;
    bool poisoned = false, has_response = false;
};

class Accesses {
  public:
    Accesses(Statistics& statistics, Settings& settings, Errors& errors, Events& events,
             Transfers& transfers)
        : statistics_(statistics), settings_(settings), errors_(errors), events_(events),
          transfers_(transfers) {}

    Groups groups;

    void window(u64 address, u64 size, u64 target, bool configuration) {
        windows_.push_back({address, size, target, configuration});
    }
    void clear_windows() { windows_.clear(); }
    bool leads_out(u64 address) const {
        for (const Window& w : windows_)
            if (address >= w.address && address - w.address < w.size) return true;
        return false;
    }

    // For the port.
    Access* start(Access&& access);
    void accepted(Access& access, u64 cycle);
    // A beat is offered: `last` as the port says.
    void read_offered(unsigned id, bool last);
    void read_beat(unsigned id, const u8* lanes, unsigned count, unsigned resp, bool poisoned,
                   bool last, u64 cycle);
    void write_response(unsigned id, unsigned resp, u64 cycle);

    // For devices: the access whose part the request is (0: none, an error), what the device says,
    // and that it has said everything.
    // If `optional`, it may be a write of the block itself.
    u64 request(const Tlp& tlp, bool optional = false);
    void answer(u64 number, u64 target, const u8* bytes, const u8* enabled, unsigned count,
                Access::State state);
    void answered(u64 number, u64 cycle);

    std::string describe_oldest() const;
    void reset();

  private:
    struct Window {
        u64 address, size, target;
        bool configuration;
    };
    struct Asked {
        u64 target;
        std::vector<u8> enabled, data;
        bool write, configuration;
    };

    static Asked asked(const Tlp& tlp);
    bool contains(const Access& access, const Asked& asked) const;
    bool carries(const Access& access, const Asked& asked) const;
    Access* find(const Asked& asked, bool optional);
    void check_passing(const Access& access);
    void finish_read(Access& access, u64 cycle);
    void check_read(Access& access);
    void finish_write(Access& access);
    void finish(Access& access);
    void prune();
    static std::string text(const Access& access);

    Statistics& statistics_;
    Settings& settings_;
    Errors& errors_;
    Events& events_;
    Transfers& transfers_;
    std::vector<Window> windows_;
    std::map<u64, std::unique_ptr<Access>> live_;   // by age; a few finished ones are kept
    std::unordered_map<unsigned, std::deque<Access*>> reads_, writes_;
    u64 numbers_ = 0;
};
