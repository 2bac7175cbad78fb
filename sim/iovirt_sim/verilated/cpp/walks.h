// Statistics of translation, seen from outside: which reads of the table port are walks, whether
// somebody waited for them, and which transfers did not have to wait.
#pragma once

#include "axi.h"

enum TableClass : u8 { TABLE_OTHER, TABLE_DDT, TABLE_POINTER, TABLE_LEAF, TABLE_QUEUE };

class Walks : public AxiObserver {
  public:
    Walks(Statistics& statistics, Settings& settings, Memory& memory)
        : statistics_(statistics), settings_(settings), memory_(memory) {}

    u64 now = 0;
    bool log_writes = true;
    std::vector<std::pair<u64, u64>> writes;   // address, word afterwards

    // Says what lies in a page of table memory; `iova` is what the first entry of a leaf table maps.
    void classify(u64 page, TableClass kind, u16 domain, u64 iova) {
        pages_[page] = {kind, domain, iova};
    }

    // A transfer of (domain, iova) has arrived, and waits for its translation.
    void arrived(u16 domain, u64 iova) {
        Line& line = lines_[key(domain, iova)];
        ++line.waiting;
        if (line.prefetched && !line.used) {
            line.used = true;
            ++(line.in_flight ? statistics_.prefetch_late : statistics_.prefetch_useful);
        }
    }

    // It goes to memory now: true if no walk of its line ended since `arrival`.
    bool issued(u16 domain, u64 iova, u64 arrival) {
        Line& line = lines_[key(domain, iova)];
        if (line.waiting) --line.waiting;
        return !line.in_flight && line.walk_end < arrival;
    }

    void forget(u16 domain, u64 iova, u64 pages) {
        u64 line = iova / 4096 / settings_.line_pages;
        u64 last = (iova / 4096 + pages - 1) / settings_.line_pages;
        if (pages)
            for (; line <= last; ++line) drop(lines_.find(u64(domain) << 48 | line));
        else
            for (auto at = lines_.begin(); at != lines_.end(); ++at)
                if (domain == 0xffff || at->first >> 48 == domain) drop(at);
    }

    void clear() {
        pages_.clear();
        lines_.clear();
    }

    void read_issued(AxiRead& read) override {
        ++statistics_.table_reads;
        statistics_.table_read_beats += read.beats;
        auto found = pages_.find(read.address / 4096);
        TableClass kind = found == pages_.end() ? TABLE_OTHER : found->second.kind;
        switch (kind) {
        case TABLE_DDT: ++statistics_.reads_ddt; break;
        case TABLE_POINTER: ++statistics_.reads_pointer; break;
        case TABLE_QUEUE: ++statistics_.reads_queue; break;
        case TABLE_OTHER: ++statistics_.reads_other; break;
        case TABLE_LEAF: {
            ++statistics_.reads_leaf;
            u64 iova = found->second.iova + read.address % 4096 / 8 * 4096;
            Line& line = lines_[key(found->second.domain, iova)];
            read.owner = &line;   // elements of an unordered_map stay where they are
            ++line.in_flight;
            bool demanded = line.waiting;
            ++(demanded ? statistics_.demand_walks : statistics_.prefetch_walks);
            if (line.prefetched && !line.used) ++statistics_.prefetch_useless;
            line.prefetched = !demanded, line.used = false;
        }
        }
    }

    void read_beat(AxiRead& read, u64, const u8*, unsigned, Resp) override {
        if (!read.owner || read.beat + 1 != read.beats) return;
        Line& line = *static_cast<Line*>(read.owner);
        --line.in_flight;
        line.walk_end = now;
    }

    void write_committed(AxiWrite& write) override {
        ++statistics_.table_writes;
        if (!log_writes) return;
        unsigned lanes = unsigned(write.data.size() / write.strobes.size());
        for (std::size_t n = 0; n < write.strobes.size(); ++n)
            for (unsigned at = 0; at < lanes; at += 8)
                if (write.strobes[n] >> at & 255)
                    writes.push_back({write.lanes[n] + at, memory_.read(write.lanes[n] + at)});
    }

  private:
    struct Page {
        TableClass kind;
        u16 domain;
        u64 iova;
    };
    struct Line {
        u64 walk_end = 0;
        u32 waiting = 0, in_flight = 0;
        bool prefetched = false, used = false;
    };
    using Lines = std::unordered_map<u64, Line>;

    u64 key(u16 domain, u64 iova) const {
        return u64(domain) << 48 | iova / 4096 / settings_.line_pages;
    }

    void drop(Lines::iterator at) {
        if (at == lines_.end()) return;
        if (at->second.prefetched && !at->second.used) ++statistics_.prefetch_useless;
        at->second.prefetched = false;
    }

    Statistics& statistics_;
    Settings& settings_;
    Memory& memory_;
    std::unordered_map<u64, Page> pages_;
    Lines lines_;
};
