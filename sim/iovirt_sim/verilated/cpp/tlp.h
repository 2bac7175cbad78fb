// Both ends of the TLP streams: a source with a queue and a sink that puts TLPs together.
#pragma once

#include "settings.h"

// Header Dwords in wire order (PCIe Base, 2.2.1): word[0] bit 31 is Fmt[2].
struct Header {
    u32 word[4] = {};

    unsigned fmt() const { return word[0] >> 29; }
    unsigned type() const { return word[0] >> 24 & 31; }
    bool has_data() const { return fmt() & 2; }
    unsigned length_dw() const { return word[0] & 1023 ? word[0] & 1023 : 1024; }
    unsigned tc() const { return word[0] >> 20 & 7; }
    unsigned attr() const { return (word[0] >> 16 & 4) | (word[0] >> 12 & 3); }
    bool poisoned() const { return word[0] >> 14 & 1; }
    bool completion() const { return type() == 10 || type() == 11; }
    // Memory reads, I/O, configuration and atomic operations are answered.
    bool non_posted() const {
        unsigned t = type();
        if (t == 0 || t == 1) return !has_data();
        return t == 2 || t == 4 || t == 5 || (t >= 12 && t <= 14) || t == 27;
    }
    // Of requests: requester and tag, Tag[9] and Tag[8] included.
    unsigned rid() const { return word[1] >> 16; }
    unsigned tag() const { return (word[1] >> 8 & 255) | tag_high(); }
    unsigned first_be() const { return word[1] & 15; }
    unsigned last_be() const { return word[1] >> 4 & 15; }
    bool wide() const { return fmt() & 1; }
    u64 address() const { return (wide() ? u64(word[2]) << 32 | word[3] : word[2]) & ~u64(3); }
    bool memory() const { return type() == 0; }
    bool configuration() const { return type() == 4 || type() == 5; }
    // {bus, device, function, register}, as the offset in an ECAM window.
    u32 config_offset() const { return word[2] >> 16 << 12 | (word[2] & 0xffc); }
    // Of completions.
    unsigned status() const { return word[1] >> 13 & 7; }
    unsigned byte_count() const { return word[1] & 4095 ? word[1] & 4095 : 4096; }
    unsigned requester() const { return word[2] >> 16; }
    unsigned completion_tag() const { return (word[2] >> 8 & 255) | tag_high(); }
    unsigned lower_address() const { return word[2] & 127; }

  private:
    unsigned tag_high() const { return (word[0] >> 23 & 1) << 9 | (word[0] >> 19 & 1) << 8; }
};

// Whose TLP it is.
enum TlpKind : u8 { TLP_TRANSFER, TLP_ANSWER, TLP_SIGNAL, TLP_DEVICE };

struct Tlp {
    Header header;
    u32 prefix = 0;
    bool prefix_valid = false, nullify = false;
    u8 segment = 0;
    std::vector<u32> payload;
    TlpKind kind = TLP_TRANSFER;
    void* owner = nullptr;   // the transfer, answer or signal it belongs to
    u32 op = NO_OP;
    u64 accepted = 0;        // cycle in which its first beat was taken
};

struct TlpListener {
    virtual ~TlpListener() = default;
    virtual bool may_send(const Tlp&) = 0;      // credits and tags
    virtual void starting(Tlp&) = 0;            // its first beat is offered
    virtual void taken(Tlp&, u64 cycle) = 0;    // its first beat was taken
    virtual void sent(Tlp&, u64 cycle) = 0;     // its last beat was taken
    virtual void received(Tlp&, u64 cycle) = 0;
};

template <class Port> class TlpSource {
  public:
    static constexpr unsigned DWORDS = Port::data_bytes / 4;

    TlpSource(Port port, TlpListener& listener, Settings& settings, Statistics& statistics,
              Random& random)
        : port_(port), listener_(listener), settings_(settings), statistics_(statistics),
          random_(random) {}

    void push(Tlp&& tlp) {
        answers_ += tlp.kind == TLP_ANSWER;
        queue_.push_back(std::move(tlp));
    }
    // The link went down: answers of devices that are not under way are lost. DMA is kept.
    template <class Lost> void drop_answers(Lost lost) {
        for (std::size_t n = started_ || valid_ ? 1 : 0; n < queue_.size();)
            if (queue_[n].kind == TLP_ANSWER) {
                lost(queue_[n]);
                queue_.erase(queue_.begin() + n);
            } else ++n;
        count_answers();
    }
    bool full() const { return queue_.size() >= settings_.queue; }
    bool empty() const { return queue_.empty(); }
    bool has_room(u64 count) const { return queue_.empty() || queue_.size() + count <= settings_.queue; }

    void sample(u64 cycle) {
        if (!valid_) return;
        if (!port_.ready()) {
            ++statistics_.rx_blocked;
            return;
        }
        valid_ = false;
        ++statistics_.rx_beats;
        Tlp& tlp = queue_.front();
        if (at_ == 0) listener_.taken(tlp, tlp.accepted = cycle);
        at_ += DWORDS;
        if (at_ < tlp.payload.size()) return;
        ++statistics_.tlps_sent;
        answers_ -= tlp.kind == TLP_ANSWER;
        listener_.sent(tlp, cycle);
        queue_.pop_front();
        at_ = 0;
        started_ = false;
    }

    void drive() {
        if (!valid_ && !queue_.empty() && !random_.chance(settings_.rx_stall)) offer();
        put(port_.valid(), valid_);
    }

    void reset() {
        queue_.clear();
        valid_ = started_ = false;
        at_ = answers_ = 0;
        put(port_.valid(), 0);
    }

  private:
    void count_answers() {
        answers_ = 0;
        for (const Tlp& tlp : queue_) answers_ += tlp.kind == TLP_ANSWER;
    }

    // Bring to the front what may be sent next: requests that wait for credits or tags are passed
    // by completions, and, if so set, by posted TLPs; nothing else passes (PCIe Base, 2.4.1).
    bool choose() {
        if (!settings_.link_up) return false;
        if (listener_.may_send(queue_.front())) return true;
        if (!answers_ && !settings_.pass_blocked) return false;
        for (std::size_t n = 1; n < queue_.size(); ++n) {
            const Header& header = queue_[n].header;
            if (header.non_posted()) continue;
            if (!header.completion() && !settings_.pass_blocked) return false;
            Tlp tlp = std::move(queue_[n]);
            queue_.erase(queue_.begin() + n);
            queue_.push_front(std::move(tlp));
            return true;
        }
        return false;
    }

    void offer() {
        if (!started_) {
            if (!choose()) return;
            listener_.starting(queue_.front());
            started_ = true;
        }
        Tlp& tlp = queue_.front();
        valid_ = true;
        std::size_t left = tlp.payload.size() - at_, count = left < DWORDS ? left : DWORDS;
        u32* data = words(port_.data());
        for (std::size_t n = 0; n < DWORDS; ++n) data[n] = n < count ? tlp.payload[at_ + n] : 0;
        put(port_.strb(), (u64(1) << count) - 1);
        put(port_.first(), at_ == 0);
        put(port_.last(), at_ + DWORDS >= tlp.payload.size());
        put(port_.nullify(), tlp.nullify && at_ + DWORDS >= tlp.payload.size());
        u32* header = words(port_.hdr());
        for (int n = 0; n < 4; ++n) header[n] = at_ == 0 ? tlp.header.word[3 - n] : 0;
        put(port_.prefix(), at_ == 0 ? tlp.prefix : 0);
        put(port_.prefix_valid(), at_ == 0 && tlp.prefix_valid);
        put(port_.segment(), tlp.segment);
    }

    Port port_;
    TlpListener& listener_;
    Settings& settings_;
    Statistics& statistics_;
    Random& random_;
    std::deque<Tlp> queue_;
    bool valid_ = false, started_ = false;
    std::size_t at_ = 0, answers_ = 0;
};

template <class Port> class TlpSink {
  public:
    static constexpr unsigned DWORDS = Port::data_bytes / 4;

    TlpSink(Port port, TlpListener& listener, Settings& settings, Statistics& statistics,
            Random& random, Errors& errors)
        : port_(port), listener_(listener), settings_(settings), statistics_(statistics),
          random_(random), errors_(errors) {}

    void sample(u64 cycle) {
        if (!port_.valid() || !port_.ready()) return;
        ++statistics_.tx_beats;
        if (bool(port_.first()) == open_)
            errors_.add("tx: first is %d %s a TLP", int(port_.first()), open_ ? "inside" : "outside");
        if (port_.first()) begin(cycle);
        u64 strobes = port_.strb();
        u32* data = words(port_.data());
        unsigned count = 0;
        while (count < DWORDS && strobes >> count & 1) tlp_.payload.push_back(data[count++]);
        if (strobes >> count) errors_.add("tx: strb %llx has a gap", (unsigned long long)strobes);
        open_ = !port_.last();
        if (open_) {
            if (count != DWORDS) errors_.add("tx: a beat that is not the last is not full");
            return;
        }
        ++statistics_.tlps_received;
        std::size_t expected = tlp_.header.has_data() ? tlp_.header.length_dw() : 0;
        if (tlp_.payload.size() != expected)
            errors_.add("tx: payload of %zu Dwords, header %08x says %zu", tlp_.payload.size(),
                        tlp_.header.word[0], expected);
        listener_.received(tlp_, cycle);
    }

    void drive() { put(port_.ready(), !random_.chance(settings_.tx_stall)); }

    void reset() {
        open_ = false;
        put(port_.ready(), 0);
    }

  private:
    void begin(u64 cycle) {
        tlp_ = Tlp{};
        const u32* header = words(port_.hdr());
        for (int n = 0; n < 4; ++n) tlp_.header.word[n] = header[3 - n];
        tlp_.prefix = u32(port_.prefix());
        tlp_.prefix_valid = port_.prefix_valid();
        tlp_.accepted = cycle;
    }

    Port port_;
    TlpListener& listener_;
    Settings& settings_;
    Statistics& statistics_;
    Random& random_;
    Errors& errors_;
    Tlp tlp_;
    bool open_ = false;
};
