// Sparse memory of 64-bit words, and the ranges that fail.
#pragma once

#include <algorithm>
#include <memory>

#include "common.h"

enum Resp : u8 { OKAY = 0, EXOKAY = 1, SLVERR = 2, DECERR = 3 };

class Memory {
  public:
    static constexpr u64 PAGE = 4096;

    // Words of [low, high) that were never written are a function of their address and `seed`, so
    // that data from a wrong address shows; all others are 0.
    void background(u64 low, u64 high, u64 seed) { low_ = low, high_ = high, seed_ = seed; }

    u64 read(u64 address) const {
        if (const Page* page = find(address / PAGE)) return page->word[address % PAGE / 8];
        return initial(address);
    }

    void write(u64 address, u64 value) { make(address / PAGE)->word[address % PAGE / 8] = value; }

    void read_bytes(u64 address, u8* bytes, unsigned count) const {
        while (count) {
            u64 value = read(address & ~u64(7));
            unsigned skip = address % 8, take = 8 - skip < count ? 8 - skip : count;
            memcpy(bytes, reinterpret_cast<u8*>(&value) + skip, take);
            address += take, bytes += take, count -= take;
        }
    }

    // Writes the bytes whose bit in `strobes` is set.
    void write_strobed(u64 address, const u8* bytes, u64 strobes, unsigned count) {
        for (unsigned at = 0; at < count; ++at)
            if (strobes >> at & 1) {
                Page* page = make((address + at) / PAGE);
                reinterpret_cast<u8*>(page->word)[(address + at) % PAGE] = bytes[at];
            }
    }

    // Without an error it repairs the failing ranges that begin in this one.
    void fail(u64 low, u64 length, Resp read, Resp write) {
        if (read == OKAY && write == OKAY) {
            auto inside = [=](const Failing& r) { return r.low >= low && r.low < low + length; };
            failing_.erase(std::remove_if(failing_.begin(), failing_.end(), inside),
                           failing_.end());
            return;
        }
        failing_.push_back({low, low + length, read, write});
    }

    Resp read_response(u64 address, unsigned count) const {
        return response(address, count, &Failing::read);
    }
    Resp write_response(u64 address, unsigned count) const {
        return response(address, count, &Failing::write);
    }

    void clear() {
        pages_.clear();
        failing_.clear();
        last_ = nullptr;
        low_ = high_ = 0;
    }
    void clear_failing() { failing_.clear(); }

  private:
    struct Page {
        u64 word[PAGE / 8];
    };
    struct Failing {
        u64 low, high;
        Resp read, write;
    };

    u64 initial(u64 address) const {
        return address >= low_ && address < high_ ? mix(address ^ mix(seed_)) : 0;
    }

    Page* find(u64 number) const {
        if (last_ && last_number_ == number) return last_;
        auto found = pages_.find(number);
        if (found == pages_.end()) return nullptr;
        last_number_ = number;
        return last_ = found->second.get();
    }

    Page* make(u64 number) {
        if (Page* page = find(number)) return page;
        auto page = std::make_unique<Page>();
        for (u64 at = 0; at < PAGE; at += 8) page->word[at / 8] = initial(number * PAGE + at);
        last_number_ = number;
        return last_ = (pages_[number] = std::move(page)).get();
    }

    Resp response(u64 address, unsigned count, Resp Failing::*kind) const {
        Resp worst = OKAY;
        for (const Failing& range : failing_)
            if (address < range.high && address + count > range.low && range.*kind > worst)
                worst = range.*kind;
        return worst;
    }

    std::unordered_map<u64, std::unique_ptr<Page>> pages_;
    std::vector<Failing> failing_;
    mutable Page* last_ = nullptr;
    mutable u64 last_number_ = 0;
    u64 low_ = 0, high_ = 0, seed_ = 0;
};
