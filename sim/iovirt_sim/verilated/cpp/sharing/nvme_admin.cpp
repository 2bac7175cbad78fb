// The admin queue.
#include "sharing/nvme.h"

namespace {

enum Opcode : unsigned {
    DELETE_SQ = 0, CREATE_SQ = 1, LOG_PAGE = 2, DELETE_CQ = 4, CREATE_CQ = 5, IDENTIFY = 6, ABORT = 8,
    SET_FEATURES = 9, GET_FEATURES = 10, EVENT = 12,
};
enum Status : unsigned {
    OK = 0, BAD_OPCODE = 0x4001, BAD_FIELD = 0x4002, BAD_COMPLETIONS = 0x4100, BAD_NUMBER = 0x4101,
    BAD_SIZE = 0x4102, TOO_MANY_EVENTS = 0x4105, BAD_VECTOR = 0x4108, IN_USE = 0x410c,
};
constexpr u32 QUEUES = 7, VECTORS = 128;
constexpr std::size_t EVENTS = 4;

}  // namespace

void Nvme::administer(NvmeWork c) {
    u32 feature = u32(c->number(40, 4) & 255);
    switch (c->opcode()) {
    case CREATE_SQ: return end(c, create_submission(*c));
    case CREATE_CQ: return end(c, create_completion(*c));
    case DELETE_SQ: case DELETE_CQ: return end(c, remove_queue(*c));
    case IDENTIFY: case LOG_PAGE: return identify(c);
    case ABORT:
        c->result = 1;   // not aborted
        return end(c, OK);
    case SET_FEATURES: case GET_FEATURES:
        if (feature == QUEUES) c->result = u32(options.queues - 1) * 0x10001;
        return end(c, feature ? OK : BAD_FIELD);
    case EVENT:
        if (events_asked_.size() >= EVENTS) return end(c, TOO_MANY_EVENTS);
        events_asked_.push_back(*c);
        --busy_;
        return;
    }
    end(c, BAD_OPCODE);
}

unsigned Nvme::create_completion(const NvmeCommand& c) {
    unsigned number = unsigned(c.number(40, 2)), vector = unsigned(c.number(46, 2));
    u32 depth = u32(c.number(42, 2)) + 1, flags = u32(c.number(44, 2));
    if (!number || number > options.queues || completion_.count(number)) return BAD_NUMBER;
    if (depth < 2 || depth > options.entries) return BAD_SIZE;
    if (c.number(24, 8) % 4096 || !(flags & 1)) return BAD_FIELD;
    if (vector >= VECTORS) return BAD_VECTOR;
    NvmeCompletions& q = completion_[number] = {};
    q.number = number, q.base = c.number(24, 8), q.depth = depth, q.vector = vector;
    q.interrupts = flags & 2, q.life = lives_++;
    auto issuer = issuers.find(number);
    q.issuer = issuer == issuers.end() ? 0 : issuer->second;
    return OK;
}

unsigned Nvme::create_submission(const NvmeCommand& c) {
    unsigned number = unsigned(c.number(40, 2)), completion = unsigned(c.number(46, 2));
    u32 depth = u32(c.number(42, 2)) + 1;
    if (!completion || !completion_.count(completion)) return BAD_COMPLETIONS;
    if (!number || number > options.queues || submission_.count(number)) return BAD_NUMBER;
    if (depth < 2 || depth > options.entries) return BAD_SIZE;
    if (c.number(24, 8) % 4096 || !(c.number(44, 2) & 1)) return BAD_FIELD;
    NvmeQueue& q = submission_[number] = {};
    q.number = number, q.completion = completion, q.base = c.number(24, 8), q.depth = depth;
    q.life = lives_++;
    auto issuer = issuers.find(number);
    q.issuer = issuer == issuers.end() ? 0 : issuer->second;
    return OK;
}

// Commands of the queue that are under way come to nothing.
unsigned Nvme::remove_queue(const NvmeCommand& c) {
    unsigned number = unsigned(c.number(40, 2));
    if (!number) return BAD_NUMBER;
    if (c.opcode() == DELETE_SQ) return submission_.erase(number) ? OK : BAD_NUMBER;
    for (auto& [other, queue] : submission_)
        if (other && queue.completion == number) return IN_USE;
    return completion_.erase(number) ? OK : BAD_NUMBER;
}

void Nvme::identify(NvmeWork c) {
    std::vector<u8> data(4096, 0);
    auto put = [&](unsigned at, u64 value, unsigned size) { memcpy(&data[at], &value, size); };
    unsigned what = unsigned(c->number(40, 1));
    if (c->opcode() == IDENTIFY && what == 0) {
        for (unsigned at : {0, 8, 16}) put(at, options.blocks, 8);
        put(128, options.shift << 16 | options.metadata, 4);
        put(26, options.metadata ? 0x10 : 0, 1);
    } else if (c->opcode() == IDENTIFY && what == 1) {
        put(0, 0x1AF4, 2), put(77, 8, 1), put(80, 0x10400, 4), put(259, EVENTS - 1, 1);
        memcpy(&data[4], "1                   iovirt bench drive", 38);
        put(512, 0x4466, 2), put(516, options.namespaces, 4), put(520, 0x8d, 2), put(536, 1, 4);
    } else if (c->opcode() == IDENTIFY && what == 2) {
        for (u64 n = 0; n < options.namespaces; ++n) put(unsigned(4 * n), n + 1, 4);
    }
    u64 first = c->number(24, 8), size = 4096 - first % 4096;
    if (c->opcode() == LOG_PAGE)
        data.resize(std::min<u64>(4096, 4 * (c->number(42, 2) + 1)));
    c->pending = 0;
    for (u64 at = 0; at < data.size(); at += size) {
        Dma w;
        w.write = true, w.address = at ? c->number(32, 8) : first, w.use = USE_WRITE;
        size = at ? data.size() - at : std::min<u64>(size, data.size());
        w.length = u32(size), w.data.assign(data.begin() + at, data.begin() + at + size);
        ++c->pending;
        w.done = [this, c](Dma&) {
            if (alive(*c) && !--c->pending) end(c, OK);
        };
        dma.start(std::move(w));
    }
}
