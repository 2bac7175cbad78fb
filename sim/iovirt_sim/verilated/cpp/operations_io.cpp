// Operations of programmed I/O and of interrupts.
#include "bench.h"

// Words: address, {size log2, beats, id, burst}, then, of a write, its bytes and its strobes.
bool Bench::pio(const u64* op, u32 argument, u64 length) {
#ifdef IOVIRT_HAS_PIO
    if (pio_.full()) return false;
    Access a;
    a.op = op_, a.group = u16(argument);
    a.write = argument >> 16 & 1, a.report = argument >> 17 & 1, a.expect = u8(argument >> 18 & 7);
    a.address = op[1], a.size = u64(1) << (op[2] & 7), a.beats = unsigned(op[2] >> 8 & 255) + 1;
    a.id = unsigned(op[2] >> 16 & 0xffff), a.burst = u8(op[2] >> 32 & 3);
    u64 bytes = (a.address & ~(a.size - 1)) + a.beats * a.size - a.address;
    if (a.write) {
        u64 words = (bytes + 7) / 8;
        if (length < 3 + words) {
            errors.add("program: operation %u has too few bytes", op_);
            return true;
        }
        a.data.resize(bytes);
        memcpy(a.data.data(), op + 3, bytes);
        if (length > 3 + words) {
            a.enabled.resize(bytes);
            for (u64 n = 0; n < bytes; ++n) a.enabled[n] = op[3 + words + n / 64] >> n % 64 & 1;
        }
    }
    pio_.push(std::move(a));
#else
    (void)op, (void)argument, (void)length;
    errors.add("program: this design has no port for cores (operation %u)", op_);
#endif
    return true;
}

// Words: those of a TLP; {kind, check, index, rid, segment}, data, address that it is forwarded to.
bool Bench::signal(const u64* op, u32 argument, u64 length) {
#ifdef IOVIRT_HAS_RX
    if (source_.full()) return false;
    const u64* about = op + length - 3;
    Signal s;
    s.op = op_, s.group = u16(argument);
    s.kind = u8(about[0] & 3), s.check_data = about[0] >> 8 & 1, s.index = u16(about[0] >> 16);
    s.rid = u16(about[0] >> 32), s.segment = u8(about[0] >> 48);
    s.data = u32(about[1]), s.address = about[2];
    signals_.start(std::move(s), make_tlp(op, length - 3, op_));
#else
    (void)op, (void)argument, (void)length;
    errors.add("program: this design has no TLP streams (operation %u)", op_);
#endif
    return true;
}

// Words: base, registers, notify, clear, {log2, wire, service, report}, {pause, burst}, next.
void Bench::ring(const u64* op, u32 argument) {
    Ring r;
    r.op = op_, r.base = op[1], r.registers = op[2], r.notify = op[3], r.clear = op[4];
    r.log2 = unsigned(op[5] & 31), r.wire = unsigned(op[5] >> 8 & 31);
    r.service = u8(op[5] >> 16 & 3), r.report = op[5] >> 24 & 1;
    r.pause = u32(op[6]), r.burst = u32(op[6] >> 32);
    r.next = r.freed = u32(op[7]);
    signals_.ring(argument, r);
}

// Words: low, high, {kinds, action, forged, piece, flags, function}, {count, split},
// {delay, jitter}, bits flipped, {bits flipped, Dwords added}.
void Bench::rule(const u64* op, u32 argument) {
    if (argument) {
        devices_.clear_rules();
        return;
    }
    Rule r;
    r.low = op[1], r.high = op[2];
    r.kinds = u8(op[3]), r.action = u8(op[3] >> 8), r.forged = u8(op[3] >> 16);
    r.piece = u8(op[3] >> 24), r.hold = op[3] >> 32 & 1, r.late = op[3] >> 33 & 1;
    r.function = u16(op[3] >> 48);
    r.count = u32(op[4]), r.split = u32(op[4] >> 32);
    r.delay = u32(op[5]), r.jitter = u32(op[5] >> 32);
    r.flip[0] = u32(op[6]), r.flip[1] = u32(op[6] >> 32), r.flip[2] = u32(op[7]);
    r.dwords = int(op[7] >> 32);
    devices_.rule(r);
}

// Words: {parent, devfn, bus, bridge, BARs}, of each BAR {number, wide} and size, then of each
// Dword of configuration space {number, value} and mask.
void Bench::function(const u64* op, u32 argument, u64 length) {
    Function f;
    f.parent = unsigned(op[1] & 0xffff), f.devfn = u8(op[1] >> 16), f.bus = u8(op[1] >> 24);
    f.bridge = op[1] >> 32 & 1, f.shared = op[1] >> 33 & 1;
    u64 bars = op[1] >> 40 & 7, at = 2;
    for (u64 n = 0; n < bars && at + 1 < length; ++n, at += 2)
        f.bars.push_back({u8(op[at]), bool(op[at] >> 8 & 1), op[at + 1]});
    f.value.assign(1024, 0), f.mask.assign(1024, 0);
    for (; at + 1 < length; at += 2) {
        f.value[op[at] & 1023] = u32(op[at] >> 32);
        f.mask[op[at] & 1023] = u32(op[at + 1]);
    }
    devices_.function(argument, std::move(f));
}

bool Bench::device(const u64* op, u32 argument, u64 length) {
    u64 at = length > 1 ? Devices::bar_address(argument & 0xffff, argument >> 16, op[1]) : 0;
    switch (Opcode(op[0] & 255)) {
    case OP_WINDOW:
        if (argument & 2) accesses_.clear_windows();
        else accesses_.window(op[1], op[2], op[3], argument & 1);
        return true;
    case OP_FUNCTION: function(op, argument, length); return true;
    case OP_RULE: rule(op, argument); return true;
    case OP_RELEASE: devices_.release(argument); return true;
    case OP_BAR_WRITE:
        for (u64 n = 2; n < length; ++n) devices_.bars().write(at + (n - 2) * 8, op[n]);
        return true;
    default: {
        std::vector<u64> values;
        for (u64 n = 0; n < op[2]; ++n) values.push_back(devices_.bars().read(at + n * 8));
        events.add_words(EVENT_MEMORY, op_, values);
        return true;
    }
    }
}

// Guests are cores too.
void Bench::connect_agents() {
    devices_.written = [this](unsigned function, unsigned bar, u64 offset, unsigned bytes) {
        agents_.written(function, bar, offset, bytes);
    };
    signals_.consumed = [this](unsigned index) { agents_.interrupted(index); };
    agents_.world().store = [this](u64 address, u64 value, unsigned size, unsigned core) {
#ifdef IOVIRT_HAS_PIO
        if (pio_.full()) return false;
        Access a;
        a.write = true, a.address = address, a.size = size, a.id = core;
        // What becomes of a write to a page of a guest is the business of the block.
        a.expect = accesses_.leads_out(address) ? EXPECT_AUTO : EXPECT_ANY;
        a.data.resize(size);
        memcpy(a.data.data(), &value, size);
        pio_.push(std::move(a));
#else
        (void)address, (void)value, (void)size, (void)core;
#endif
        return true;
    };
}
