// Operations that take more than a line. Each returns whether it is finished.
#include "bench.h"

namespace {

// Registers of the command queue (RISC-V IOMMU 1.0, 5).
constexpr u64 CQH = 32, CQT = 36, CQCSR = 72, CQ_ERRORS = 0x700;

}  // namespace

// Of the words of an operation: header, header, {prefix, flags, Dwords}, payload.
Tlp make_tlp(const u64* op, u64 length, u32 number) {
    Tlp tlp;
    for (unsigned n = 0; n < 4; ++n) tlp.header.word[n] = u32(op[1 + n / 2] >> (n % 2 ? 0 : 32));
    tlp.prefix = u32(op[3]), tlp.prefix_valid = op[3] >> 32 & 1, tlp.nullify = op[3] >> 33 & 1;
    tlp.segment = u8(op[3] >> 40);
    u64 dwords = op[3] >> 48;
    for (u64 n = 0; n < dwords && 4 + n / 2 < length; ++n)
        tlp.payload.push_back(u32(op[4 + n / 2] >> (n % 2 * 32)));
    tlp.op = number;
    return tlp;
}

bool Bench::csr(const u64* op, u32 argument, bool write) {
    if (step_ == 0) {
        program_.start(op[1], argument & 15, write, write ? op[2] : 0);
        step_ = 1;
        return false;
    }
    if (program_.busy()) {
        if (now_ - started_ <= settings.timeout) return false;
        errors.add("csr: no answer to operation %u, offset %llx", op_, (unsigned long long)op[1]);
        return true;
    }
    if (!write || program_.resp() || argument >> 4 & 1)
        events.add(EVENT_CSR, op_, program_.value(), now_ - started_, program_.resp());
    return true;
}

bool Bench::poll(const u64* op, u32 argument) {
    if (step_ == 0) {
        program_.start(op[1], argument & 15, false, 0);
        step_ = 1;
        return false;
    }
    if (program_.busy()) return false;
    bool done = (program_.value() & op[2]) == op[3] || program_.resp() >= SLVERR;
    if (!done && now_ - started_ < op[4]) {
        step_ = 0;
        return false;
    }
    if (!done) events.add(EVENT_TIMEOUT, op_, now_);
    events.add(EVENT_CSR, op_, program_.value(), now_ - started_, program_.resp());
    return true;
}

bool Bench::translate(const u64* op, u32 argument) {
#ifdef IOVIRT_HAS_REQUEST
    if (remap_.full()) return false;
    RemapRequest r;
    r.op = op_;
    r.device_id = u32(op[1] & 0xffffff), r.pid = u32(op[1] >> 24 & 0xfffff);
    u64 flags = op[1] >> 44;
    r.pv = flags & 1, r.priv = flags & 2, r.exec = flags & 4, r.write = flags & 8;
    r.at = u8(flags >> 4 & 3);
    r.iova = op[2], r.source = u32(op[3]), r.wanted = op[4];
    r.report = argument & 1;
    r.expect = int(argument >> 1 & 3) - 1;
    remap_.push(r);
#else
    (void)op, (void)argument;
    errors.add("program: this design has no request stream (operation %u)", op_);
#endif
    return true;
}

bool Bench::dma(const u64* op, u32 argument, u64 length) {
#ifdef IOVIRT_HAS_RX
    TransferRequest r;
    r.op = op_, r.group = u16(argument);
    r.write = argument >> 16 & 1, r.report = argument >> 17 & 1;
    r.expect = u8(argument >> 18 & 7), r.attr = u8(argument >> 21 & 7), r.tc = u8(argument >> 24 & 7);
    r.rid = u16(op[1]), r.segment = u8(op[1] >> 16), r.length = u32(op[1] >> 32);
    if (argument >> 27 & 1) {
        r.first_be = int(op[1] >> 24 & 15), r.last_be = int(op[1] >> 28 & 15);
    }
    r.iova = op[2], r.spa = op[3], r.seed = op[4];
    if (length > 5) r.prefix = u32(op[5]), r.prefix_valid = true;
    if (!source_.has_room(transfers_.tlps_needed(r))) return false;
    transfers_.start(r);
#else
    (void)op, (void)argument, (void)length;
    errors.add("program: this design has no TLP streams (operation %u)", op_);
#endif
    return true;
}

bool Bench::tlp(const u64* op, u32 argument, u64 length) {
#ifdef IOVIRT_HAS_RX
    if (source_.full()) return false;
    transfers_.start_raw(make_tlp(op, length, op_), u16(argument), argument >> 16 & 1);
#else
    (void)op, (void)argument, (void)length;
    errors.add("program: this design has no TLP streams (operation %u)", op_);
#endif
    return true;
}

// Kinds: 0 everything answered, 1 everything of a group answered, 2 everything handed over.
bool Bench::wait(const u64* op, u32 argument) {
    bool pending = argument == 1 ? outstanding(u16(op[1])) != 0 : outstanding() != 0;
#ifdef IOVIRT_HAS_RX
    if (argument == 2) pending = !source_.empty();
    if (argument == 0) pending |= !source_.empty();
#endif
#ifdef IOVIRT_HAS_PIO
    if (argument == 2) pending |= !pio_.empty();
#endif
#ifdef IOVIRT_HAS_REQUEST
    if (argument == 2) pending = !remap_.empty();
#endif
    if (!pending) return true;
    ++statistics.idle_clocks;
    if (!stuck(settings.timeout)) return false;
    std::string oldest = transfers_.outstanding() ? transfers_.describe_oldest() :
                         accesses_.groups.all ? accesses_.describe_oldest() :
                         signals_.describe_oldest();
#ifdef IOVIRT_HAS_REQUEST
    oldest = remap_.describe_oldest();
#endif
    errors.add("nothing has moved for %llu clocks while operation %u waits for %s",
               (unsigned long long)settings.timeout, op_, oldest.c_str());
    return true;
}

bool Bench::command(const u64* op) {
    if (!entries_) {
        errors.add("program: operation %u needs a command ring", op_);
        return true;
    }
    // Steps: 0 room, 1 head being read, 2 tail being written.
    if (step_ == 1) {
        if (program_.busy()) return false;
        head_ = program_.value(), step_ = 0;
        if (stuck(settings.timeout)) {
            errors.add("the command queue stays full (operation %u)", op_);
            return true;
        }
    }
    if (step_ == 0) {
        bool room = (tail_ + 1) % entries_ != head_ % entries_;
        if (room) {
            memory_.write(ring_ + tail_ * 16, op[1]);
            memory_.write(ring_ + tail_ * 16 + 8, op[2]);
            tail_ = (tail_ + 1) % entries_;
            ++statistics.commands;
        }
        program_.start(room ? CQT : CQH, 4, room, tail_);
        step_ = room ? 2 : 1;
        return false;
    }
    return !program_.busy();
}

bool Bench::command_wait(const u64* op, u32 argument) {
    // Steps: 0 read cqh, 1 look at it, 2 look at cqcsr.
    if (step_ == 1) {
        if (program_.busy()) return false;
        head_ = program_.value();
        bool reached = head_ == tail_;
        if (reached && !argument) {
            ++statistics.command_waits, statistics.command_wait_clocks += now_ - started_;
            return true;
        }
        program_.start(CQCSR, 4, false, 0);
        step_ = 2;
        return false;
    }
    if (step_ == 2) {
        if (program_.busy()) return false;
        bool failed = program_.value() & CQ_ERRORS, late = now_ - started_ > op[1];
        if (head_ == tail_ || failed || late) {
            if (late && !failed && head_ != tail_) events.add(EVENT_TIMEOUT, op_, now_);
            if (argument) events.add(EVENT_COMMANDS, op_, head_, program_.value(), now_ - started_);
            else
                errors.add("command queue stopped at %llu of %llu, cqcsr %llx (operation %u)",
                           (unsigned long long)head_, (unsigned long long)tail_,
                           (unsigned long long)program_.value(), op_);
            ++statistics.command_waits, statistics.command_wait_clocks += now_ - started_;
            return true;
        }
    }
    program_.start(CQH, 4, false, 0);
    step_ = 1;
    return false;
}
