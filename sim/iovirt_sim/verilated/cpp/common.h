// Types shared by all parts of the bench.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "verilated.h"

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;

// A field of a packed payload.
struct Field {
    unsigned offset, width;
};

// Ports of up to 64 bits are integers, wider ones arrays of 32-bit words.
inline u32* words(QData& port) { return reinterpret_cast<u32*>(&port); }
inline u32* words(IData& port) { return &port; }
template <std::size_t N> u32* words(VlWide<N>& port) { return port.data(); }
template <class T> void put(T& port, u64 value) { port = static_cast<T>(value); }

inline u64 get_field(const u32* payload, Field field) {
    u64 value = 0;
    for (unsigned bit = 0; bit < field.width;) {
        unsigned at = field.offset + bit, shift = at % 32;
        unsigned take = 32 - shift < field.width - bit ? 32 - shift : field.width - bit;
        u64 part = (payload[at / 32] >> shift) & ((u64(1) << take) - 1);
        value |= part << bit;
        bit += take;
    }
    return value;
}

inline void set_field(u32* payload, Field field, u64 value) {
    for (unsigned bit = 0; bit < field.width;) {
        unsigned at = field.offset + bit, shift = at % 32;
        unsigned take = 32 - shift < field.width - bit ? 32 - shift : field.width - bit;
        u32 mask = u32(((u64(1) << take) - 1) << shift);
        payload[at / 32] = (payload[at / 32] & ~mask) | (u32((value >> bit) << shift) & mask);
        bit += take;
    }
}

// The finaliser of splitmix64: background contents of memory, payloads, random stalls.
inline u64 mix(u64 z) {
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

class Random {
  public:
    u64 state = 1;
    u64 next() { return mix(state += 0x9E3779B97F4A7C15u); }
    // True in `share` of 256 cases; draws nothing if that is none.
    bool chance(u64 share) { return share && (next() & 255) < share; }
    u64 below(u64 bound) { return bound ? next() % bound : 0; }
};

// What went wrong, the first hundred in full. A run ends at the first one.
class Errors {
  public:
    std::vector<std::string> texts;
    u64 count = 0;

    __attribute__((format(printf, 2, 3))) void add(const char* format, ...) {
        char text[512];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        if (texts.size() < 100) texts.push_back(text);
        ++count;
    }
};

// Events are records of 64-bit words: {kind 8, words 24, op 32}, then what the kind says.
enum EventKind : u64 {
    EVENT_CSR = 1,       // value, clocks
    EVENT_TRANSLATED,    // ok | ca << 1 | epoch << 2 | cause << 16, spa, accepted, returned
    EVENT_TLP,           // cycle, header high, header low, prefix | valid << 32, Dwords, payload...
    EVENT_TRANSFER,      // status | poisoned << 3, accepted, issued, done
    EVENT_MEMORY,        // words...
    EVENT_COMMANDS,      // cqh, cqcsr, clocks
    EVENT_MARK,          // cycle, wsi, irq_wires
    EVENT_TABLE_WRITE,   // address, word afterwards
    EVENT_TIMEOUT,       // cycle
    EVENT_PIO,           // resp | poison << 2 | TLPs << 8, offered, accepted, asked, answered, done,
                         // bytes, data...
    EVENT_RECORD,        // queue, count, 4 words, visible, consumed
    EVENT_NOTICE,        // queue, cycle
    EVENT_AGENT,         // what the operation asked for
    EVENT_BREACH,        // number of the counter, guest, two words about it
    EVENT_COMPLETION,    // guest, cycle, two words
    EVENT_DEVICE_DMA,    // cycle, use | write << 8 | guest << 16 | queue << 32, address, bytes,
                         // status | poisoned << 8, data...
    EVENT_MISMATCH,      // guest, block, word, seen, wanted
};

class Events {
  public:
    std::vector<u64> data;

    template <class... Values> void add(EventKind kind, u32 op, Values... values) {
        u64 size = 1 + sizeof...(values);
        data.push_back(u64(kind) | size << 8 | u64(op) << 32);
        (data.push_back(u64(values)), ...);
    }
    void add_words(EventKind kind, u32 op, const std::vector<u64>& values) {
        data.push_back(u64(kind) | u64(values.size() + 1) << 8 | u64(op) << 32);
        data.insert(data.end(), values.begin(), values.end());
    }
};

// What has been started and is not finished, by groups that a program can wait for.
class Groups {
  public:
    u64 all = 0;
    u64 of(u16 group) const { return group < groups_.size() ? groups_[group] : 0; }
    void count(u16 group, int change) {
        if (group >= groups_.size()) groups_.resize(group + 1, 0);
        groups_[group] += change;
        all += change;
    }
    void clear() { groups_.clear(), all = 0; }

  private:
    std::vector<u64> groups_;
};

constexpr u32 NO_OP = 0xffffffff;
