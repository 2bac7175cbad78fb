// What is behind the link: functions with configuration space and BARs, below bridges or not, that
// answer requests of cores, well or badly.
#pragma once

#include <map>

#include "accesses.h"

struct Function {
    static constexpr unsigned NOBODY = 0xffff;
    struct Bar {
        u8 number = 0;
        bool wide = false;
        u64 size = 0;
    };

    unsigned parent = NOBODY;   // bridge that it is behind
    u8 devfn = 0, bus = 0;      // the bus is learnt from configuration writes
    bool bridge = false, shared = false;   // written by the block itself, too
    std::vector<Bar> bars;
    std::vector<u32> value, mask;   // configuration space, and which bits can be written

    u16 rid() const { return u16(bus << 8 | devfn); }
    u64 bar_base(const Bar& bar) const {
        u64 low = value[4 + bar.number] & ~15u;
        return bar.wide ? low | u64(value[5 + bar.number]) << 32 : low;
    }
    bool decodes_memory() const { return value[1] & 2; }
    bool routes(unsigned to) const {
        return bridge && to >= (value[6] >> 8 & 255) && to <= (value[6] >> 16 & 255);
    }
    bool forwards(u64 address) const {
        u64 low = u64(value[8] & 0xfff0) << 16, high = (value[8] & 0xfff00000) | 0xfffff;
        u64 from = u64(value[10]) << 32 | u64(value[9] & 0xfff0) << 16;
        u64 to = u64(value[11]) << 32 | (value[9] & 0xfff00000) | 0xfffff;
        return decodes_memory() && ((address >= low && address <= high) ||
                                    (address >= from && address <= to));
    }
};

// How requests are answered: the first rule that fits, as often as it says.
struct Rule {
    enum Kind : u8 { MEMORY_READ = 1, CONFIG_READ = 2, CONFIG_WRITE = 4 };
    enum Action : u8 { OK, UR, CA, RRS, POISON, NONE };
    enum Forged : u8 { GENUINE, BEFORE, AFTER, INSTEAD };

    u8 kinds = 7, action = OK, forged = GENUINE, piece = 0;   // first piece that `action` is for
    bool hold = false, late = false;   // until `release`; the core has given up before
    u16 function = Function::NOBODY;
    u32 count = 0, delay = 0, jitter = 0, split = 0;
    u64 low = 0, high = ~u64(0);
    u32 flip[3] = {};                  // bits of the header of the forged completion
    int dwords = 0;                    // added to its payload
};

class Devices {
  public:
    Devices(Statistics& statistics, Settings& settings, Errors& errors, Events& events,
            Random& random, Accesses& accesses)
        : statistics_(statistics), settings_(settings), errors_(errors), events_(events),
          random_(random), accesses_(accesses) {
        bars_.background(0, ~u64(0), 0xBA25);
    }

    std::function<void(Tlp&&)> send;
    // Registers of a function have been written.
    std::function<void(unsigned function, unsigned bar, u64 offset, unsigned bytes)> written;

    bool present() const { return !functions_.empty(); }
    void function(unsigned number, Function&& function);
    void rule(const Rule& rule) { rules_.push_back(rule); }
    void clear_rules() { rules_.clear(); }
    // Sends what rules held back: 0 as it came, 1 the other way around, 2 at random.
    void release(unsigned order);
    Memory& bars() { return bars_; }
    static u64 bar_address(unsigned function, unsigned bar, u64 offset) {
        return u64(function) << 52 | u64(bar) << 48 | offset;
    }

    // A TLP of the block that is no completion: false if it is not for devices.
    bool received(Tlp& tlp, u64 cycle);
    void drive(u64 cycle);
    void sent(Tlp& tlp, u64 cycle);
    void dropped(Tlp& tlp);
    void link_down();
    void reset();

  private:
    struct Answer {
        u64 access;
        u32 tag;
        bool last, live;
    };
    struct Place {
        Function* function = nullptr;
        unsigned number = Function::NOBODY, bar = 0;
        u64 offset = 0;
    };
    // A completion, and the payload that it carries before anybody tampers with it.
    struct Request {
        const Tlp& tlp;
        Place place;
        u64 access;
        Rule rule;
        unsigned bytes, skip;   // that count, and before them in the first Dword
        std::vector<u32> payload;
    };

    void check(const Tlp& tlp);
    Place place(const Tlp& tlp);
    bool reachable(unsigned parent, u64 address) const;
    Rule choose(const Tlp& tlp, const Place& place);
    void write_memory(const Tlp& tlp, const Place& place);
    void configure(const Tlp& tlp, const Place& place);
    std::vector<u32> read(const Tlp& tlp, const Place& place) const;
    void answer(Request& request, u64 cycle);
    Tlp completion(const Request& request, unsigned at, unsigned bytes, unsigned action) const;
    void queue(const Request& request, Tlp&& tlp, u64 due, bool last, bool live);
    void tamper(Tlp& tlp, const Rule& rule) const;

    Statistics& statistics_;
    Settings& settings_;
    Errors& errors_;
    Events& events_;
    Random& random_;
    Accesses& accesses_;
    std::map<unsigned, Function> functions_;
    std::vector<Rule> rules_;
    Memory bars_;
    std::multimap<u64, Tlp> due_;
    std::vector<std::vector<Tlp>> held_;
    std::unordered_map<u32, u64> live_;   // tags that an answer is owed to: since when
};
