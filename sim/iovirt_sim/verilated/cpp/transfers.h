// DMA of devices: cuts transfers into TLPs, knows where each byte must go, and checks every access
// of the `dma` port and every completion against that.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <set>

#include "axi.h"
#include "tlp.h"
#include "walks.h"

enum Status : u8 { SC = 0, UR = 1, CA = 4 };

// What the program says about a transfer.
struct TransferRequest {
    u16 rid = 0, group = 0;
    u8 segment = 0, tc = 0, attr = 0, expect = SC;
    bool write = false, report = false, prefix_valid = false;
    u32 length = 0, prefix = 0, op = NO_OP;
    u64 iova = 0, spa = 0, seed = 0;
    int first_be = -1, last_be = -1;   // given for one TLP with holes
};

class Transfers : public AxiObserver, public TlpListener {
  public:
    Transfers(Statistics& statistics, Settings& settings, Errors& errors, Events& events,
              Walks& walks)
        : statistics_(statistics), settings_(settings), errors_(errors), events_(events),
          walks_(walks) {}

    u64 now = 0;
    // Whether a credit comes back with the answer, or from the receiver (`give_back`).
    bool credit_by_answer = true;
    bool credit_left() const { return np_used_ < settings_.np_limit; }
    void take_credit() { ++np_used_; }
    void give_back(u64 credits) { np_used_ -= credits < np_used_ ? credits : np_used_; }
    std::function<void(Tlp&&)> send;

    u64 outstanding() const { return groups_.all; }
    u64 outstanding(u16 group) const { return groups_.of(group); }

    // Writes that were offered so far, and whether the first `count` of them are all observable.
    u64 writes_offered() const { return writes_offered_; }
    bool writes_done(u64 count) const { return open_.empty() || *open_.begin() > count; }
    // The same for those of one source.
    u64 writes_of(u8 segment, u16 rid) { return sources_[u32(segment) << 16 | rid].writes; }
    u64 writes_answered_of(u8 segment, u16 rid) {
        return sources_[u32(segment) << 16 | rid].writes_answered;
    }

    // Bytes of [low, low + length) may be accessed by anyone: used with raw TLPs.
    void allow(u64 low, u64 length) { allowed_.push_back({low, low + length}); }
    // And no longer: what `allow` said with the same arguments ends.
    void forbid(u64 low, u64 length) {
        std::pair<u64, u64> range{low, low + length};
        allowed_.erase(std::remove(allowed_.begin(), allowed_.end(), range), allowed_.end());
    }

    u64 tlps_needed(const TransferRequest& r) const {
        return r.length / (r.write ? settings_.mps : settings_.mrrs) + 2;
    }

    void start(const TransferRequest& request);
    void start_raw(Tlp&& tlp, u16 group, bool answered);
    std::string describe_oldest() const;
    // The link went down: what devices have asked for is answered no more. Memory may still be read.
    void link_down();
    void reset();

    bool may_send(const Tlp&) override;
    void starting(Tlp&) override;
    void taken(Tlp&, u64 cycle) override;
    void sent(Tlp&, u64 cycle) override;
    void received(Tlp&, u64 cycle) override;

    void read_issued(AxiRead&) override;
    void read_beat(AxiRead&, u64 address, const u8* bytes, unsigned count, Resp) override;
    void write_assembled(AxiWrite&) override;
    void write_answered(AxiWrite&, Resp) override;

  private:
    struct Row {
        u32 left;
        bool missed;
    };
    struct Source;
    enum Capture : u8 { MISSING, GOOD, POISON, ABORT };

    struct Transfer {
        TransferRequest request;       // iova, spa and length of this TLP, in whole Dwords
        Source* source;
        Row* row;
        std::vector<u8> data, enabled, captured;
        std::vector<std::pair<u32, u8>> others;   // offset, byte: read by a burst that may be ours
        u32 first = 0, bytes = 0;      // first enabled byte; from it to the last enabled
        u32 left = 0, issued_to = 0, answered = 0;
        u32 axi = 0, tag = 0;
        u64 accepted = 0, issued = 0, writes_before = 0, number = 0;
        bool empty = false;            // no byte is enabled
        bool has_issued = false, done = false, poisoned = false;
    };
    struct Source {
        u64 writes = 0, writes_answered = 0;
        std::deque<Transfer*> writes_to_issue;
        std::vector<u32> tags;
        bool made_tags = false;
    };
    struct Raw {
        u32 op;
        u16 group;
    };
    using Pages = std::unordered_map<u64, std::vector<Transfer*>>;

    void start_tlp(const TransferRequest& request, Row* row);
    Tlp make_tlp(const Transfer& transfer) const;
    void mark_issued(Transfer& transfer);
    void finish(Transfer& transfer, unsigned status);
    void release(Transfer& transfer);
    void receive_completion(Transfer& transfer, const Tlp& tlp);
    void check_data(Transfer& transfer, const Tlp& tlp, u32 piece);
    Transfer* find_write(u64 address) const;
    bool allowed(u64 low, u64 high) const;
    static void remove(Pages& pages, Transfer& transfer);
    static bool other_fits(const Transfer& transfer, u32 offset, u8 byte);
    void leave_bus(void* owner);
    static std::string text(const Transfer& transfer);

    Statistics& statistics_;
    Settings& settings_;
    Errors& errors_;
    Events& events_;
    Walks& walks_;
    u64 np_used_ = 0, writes_offered_ = 0;
    std::set<u64> open_;   // numbers of the writes that are offered and not observable
    Groups groups_;
    std::unordered_map<u32, Source> sources_;
    std::unordered_map<u32, Transfer*> by_tag_;
    std::unordered_map<u32, Raw> raw_;
    std::unordered_map<Transfer*, std::unique_ptr<Transfer>> live_;
    Pages reads_, writes_;
    std::vector<std::pair<u64, u64>> allowed_;
};

// What a completion is matched by.
inline u32 tag_key(unsigned rid, unsigned tag) { return rid << 10 | tag; }

// What a device writes.
inline u32 payload_word(u64 seed, u64 address) { return u32(mix(seed ^ address / 4)); }
