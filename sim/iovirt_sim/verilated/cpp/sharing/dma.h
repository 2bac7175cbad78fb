// DMA of a modelled device: requests become TLPs, completions are checked and put together.
#pragma once

#include <memory>

#include "sharing/monitor.h"
#include "sharing/timers.h"
#include "tlp.h"

struct Dma {
    u64 address = 0;
    u32 length = 0;
    bool write = false;
    Use use = USE_READ;
    u16 issuer = 0, queue = 0;   // guest that it is for
    u8 at = 0;                   // address type
    std::vector<u8> data;        // to write, or that was read
    u8 status = 0;               // of the first completion that is not successful
    bool poisoned = false;
    std::function<void(Dma&)> done;   // read, or, of a write, sent

    u32 left = 0;   // pieces
};

class DeviceDma {
  public:
    DeviceDma(Settings& settings, Errors& errors, Events& events, Monitor& monitor, Timers& timers)
        : settings_(settings), errors_(errors), events_(events), monitor_(monitor),
          timers_(timers) {}

    u16 rid = 0;
    u8 segment = 0;
    bool trace = false;              // an event for each request
    u64 most_reads = 32, most_writes = 8;   // TLPs handed over and not answered, or not sent
    u64 reads = 0, writes = 0, read_bytes = 0, write_bytes = 0;
    std::function<void(Tlp&&)> send;

    void start(Dma&& request);
    bool has_tag_left() const { return !made_tags_ || !tags_.empty(); }
    void starting(Tlp& tlp);
    void sent(Tlp& tlp);
    bool completed(const Tlp& tlp);   // false: not a tag of ours
    bool idle() const { return live_.empty(); }
    void reset();

  private:
    struct Piece {
        DeviceDma* dma;   // first: see `of`
        std::shared_ptr<Dma> request;
        u32 at, length, tag, answered;
    };

  public:
    static DeviceDma& of(const Tlp& tlp) { return *static_cast<Piece*>(tlp.owner)->dma; }

  private:
    void cut(std::shared_ptr<Dma> request);
    void pump();
    Tlp make(const Piece& piece) const;
    void finish(Piece* piece);
    void check(Piece& piece, const Tlp& tlp);
    void report(const Dma& request);

    Settings& settings_;
    Errors& errors_;
    Events& events_;
    Monitor& monitor_;
    Timers& timers_;
    std::unordered_map<Piece*, std::unique_ptr<Piece>> live_;
    std::deque<Piece*> read_queue_, write_queue_;
    std::unordered_map<u32, Piece*> by_tag_;
    std::vector<u32> tags_;
    bool made_tags_ = false;
    u64 reading_ = 0, writing_ = 0;
};
