// The clock, and which operation is which.
#include "bench.h"

namespace {

AxiKnobs table_knobs(Settings& s) {
    return {s.table_latency, s.table_write_latency, s.table_jitter, s.table_reorder, s.table_stall};
}

#ifdef IOVIRT_HAS_DMA
AxiKnobs dma_knobs(Settings& s) {
    return {s.dma_latency, s.dma_write_latency, s.dma_jitter, s.dma_reorder, s.dma_stall};
}
#endif

}  // namespace

Bench::Bench(const char* waves)
    : model_(&context_), walks_(statistics, settings, memory_),
      transfers_(statistics, settings, errors, events, walks_),
      accesses_(statistics, settings, errors, events, transfers_),
      devices_(statistics, settings, errors, events, random_, accesses_),
      signals_(statistics, settings, errors, events, transfers_, memory_),
      agents_(statistics, settings, errors, events, memory_, devices_),
      traffic_(transfers_, devices_, signals_, agents_, settings), observer_(walks_, signals_),
      table_(TablePort{model_}, "table", memory_, table_knobs(settings), observer_, errors,
             random_),
      csr_(CsrPort{model_}, errors), program_(csr_.client(0))
#ifdef IOVIRT_HAS_DMA
      , dma_(DmaPort{model_}, "dma", memory_, dma_knobs(settings), transfers_, errors, random_)
#endif
#ifdef IOVIRT_HAS_RX
      , source_(RxPort{model_}, traffic_, settings, statistics, random_)
      , sink_(TxPort{model_}, traffic_, settings, statistics, random_, errors)
#endif
#ifdef IOVIRT_HAS_PIO
      , pio_(PioPort{model_}, accesses_, settings, statistics, random_, errors)
#endif
#ifdef IOVIRT_HAS_REQUEST
      , remap_(model_, settings, statistics, errors, events, random_)
#endif
{
#ifdef IOVIRT_HAS_RX
#ifdef IOVIRT_HAS_NP_RELEASE
    transfers_.credit_by_answer = false;
#endif
    auto send = [this](Tlp&& tlp) { source_.push(std::move(tlp)); };
    transfers_.send = devices_.send = signals_.send = agents_.send = send;
    connect_agents();
#endif
#if defined(IOVIRT_VCD) || defined(IOVIRT_FST)
    if (waves && *waves) {
        context_.traceEverOn(true);
        waves_ = std::make_unique<Waves>();
        model_.trace(waves_.get(), 99);
        waves_->open(waves);
    }
#else
    (void)waves;
#endif
    reset(4);
}

Bench::~Bench() {
#if defined(IOVIRT_VCD) || defined(IOVIRT_FST)
    if (waves_) waves_->close();
#endif
    model_.final();
}

void Bench::reset(u64 clocks) {
    random_.state = settings.seed;
    transfers_.reset(), accesses_.reset(), devices_.reset(), signals_.reset();
    agents_.reset();
    table_.reset();
    csr_.reset();
#ifdef IOVIRT_HAS_DMA
    dma_.reset();
#endif
#ifdef IOVIRT_HAS_RX
    source_.reset();
    sink_.reset();
#endif
#ifdef IOVIRT_HAS_PIO
    pio_.reset();
#endif
#ifdef IOVIRT_HAS_REQUEST
    remap_.reset();
#endif
    model_.rst = 1;
    for (u64 n = 0; n < clocks; ++n) {
        model_.clk = 0, model_.eval();
        model_.clk = 1, model_.eval();
        ++now_;
    }
    model_.rst = 0;
    tail_ = head_ = 0;
}

// Inputs were driven after the last edge. Settle, look at every handshake, clock, drive again.
void Bench::cycle() {
    model_.clk = 0;
    model_.eval();
#if defined(IOVIRT_VCD) || defined(IOVIRT_FST)
    if (waves_) waves_->dump(now_ * 4);
#endif
    walks_.now = transfers_.now = now_;
    table_.sample(now_);
    csr_.sample();
#ifdef IOVIRT_HAS_DMA
    dma_.sample(now_);
#endif
#ifdef IOVIRT_HAS_RX
    source_.sample(now_);
    sink_.sample(now_);
#ifdef IOVIRT_HAS_NP_RELEASE
    transfers_.give_back(model_.np_release);
#endif
#endif
#ifdef IOVIRT_HAS_PIO
    pio_.sample(now_);
#endif
#ifdef IOVIRT_HAS_REQUEST
    remap_.sample(now_);
#endif
    u64 wires = irq_wires();
    model_.clk = 1;
    model_.eval();
#if defined(IOVIRT_VCD) || defined(IOVIRT_FST)
    if (waves_) waves_->dump(now_ * 4 + 2);
#endif
    ++now_;
    ++statistics.cycles;
    table_.drive(now_);
    signals_.step(csr_.client(1), wires, now_);
    csr_.drive();
#ifdef IOVIRT_HAS_DMA
    dma_.drive(now_);
#endif
#ifdef IOVIRT_HAS_RX
    devices_.drive(now_);
    agents_.step(now_);
    if (link_ != bool(settings.link_up)) change_link();
    source_.drive();
    sink_.drive();
#ifdef IOVIRT_HAS_LINK_UP
    put(model_.link_up, link_);
#endif
#ifdef IOVIRT_HAS_WEAKEN
    put(model_.weaken, settings.weaken);
#endif
#ifdef IOVIRT_HAS_FC
    put(model_.tx_fc_ph, settings.fc_header), put(model_.tx_fc_pd, settings.fc_data);
    put(model_.tx_fc_nph, settings.fc_header), put(model_.tx_fc_npd, settings.fc_data);
    put(model_.tx_fc_cplh, settings.fc_header), put(model_.tx_fc_cpld, settings.fc_data);
#endif
#endif
#ifdef IOVIRT_HAS_PIO
    pio_.drive(now_);
#endif
#ifdef IOVIRT_HAS_REQUEST
    remap_.drive(now_);
#endif
}

u64 Bench::irq_wires() {
#ifdef IOVIRT_HAS_IRQ_WIRES
    return u64(model_.irq_wires);
#else
    return 0;
#endif
}

// What devices still owed is lost.
void Bench::change_link() {
    link_ = settings.link_up;
#ifdef IOVIRT_HAS_RX
    if (link_) return;
    source_.drop_answers([this](Tlp& tlp) { devices_.dropped(tlp); });
    devices_.link_down();
    transfers_.link_down();
#endif
}

u64 Bench::outstanding(u16 group) const {
    return transfers_.outstanding(group) + accesses_.groups.of(group) + signals_.groups.of(group);
}

u64 Bench::outstanding() const {
    u64 count = transfers_.outstanding() + accesses_.groups.all + signals_.groups.all;
#ifdef IOVIRT_HAS_REQUEST
    count += remap_.outstanding();
#endif
    return count;
}

// Changes whenever something moves.
u64 Bench::progress() const {
    return statistics.rx_beats + statistics.tx_beats + statistics.dma_reads +
           statistics.dma_writes + statistics.table_reads + statistics.table_writes +
           statistics.requests + statistics.results + statistics.pio_reads +
           statistics.pio_writes + statistics.records;
}

bool Bench::stuck(u64 limit) {
    if (progress() != last_progress_) last_progress_ = progress(), progress_at_ = now_;
    return now_ - progress_at_ > limit;
}

u64 Bench::run(const u64* program, u64 count) {
    op_ = 0;
    for (u64 at = 0; at < count && !errors.count; ++op_) {
        const u64* op = program + at;
        u64 length = op[0] >> 8 & 0xffffff;
        if (!length || at + length > count) {
            errors.add("program: operation %u has %llu words", op_, (unsigned long long)length);
            break;
        }
        step_ = 0;
        started_ = progress_at_ = now_;
        while (!execute(op, u32(op[0] >> 32), length) && !errors.count) cycle();
        at += length;
    }
    return errors.count;
}

bool Bench::execute(const u64* op, u32 argument, u64 length) {
    switch (Opcode(op[0] & 255)) {
    case OP_RESET: reset(argument); return true;
    case OP_RUN:
        if (now_ - started_ >= op[1]) return true;
        return false;
    case OP_MEMORY_WRITE:
        for (u64 n = 2; n < length; ++n) memory_.write(op[1] + (n - 2) * 8, op[n]);
        return true;
    case OP_MEMORY_READ: {
        std::vector<u64> values;
        for (u64 n = 0; n < op[2]; ++n) values.push_back(memory_.read(op[1] + n * 8));
        events.add_words(EVENT_MEMORY, op_, values);
        return true;
    }
    case OP_MEMORY_CLEAR: memory_.clear(), walks_.clear(); return true;
    case OP_BACKGROUND: memory_.background(op[1], op[2], op[3]); return true;
    case OP_FAIL:
        memory_.fail(op[1], op[2], Resp(argument & 3), Resp(argument >> 2 & 3));
        return true;
    case OP_CSR_WRITE: return csr(op, argument, true);
    case OP_CSR_READ: return csr(op, argument, false);
    case OP_CSR_POLL: return poll(op, argument);
    case OP_TRANSLATE: return translate(op, argument);
    case OP_DMA: return dma(op, argument, length);
    case OP_TLP: return tlp(op, argument, length);
    case OP_WAIT: return wait(op, argument);
    case OP_COMMAND_RING:
        ring_ = op[1], entries_ = u64(1) << op[2], tail_ = head_ = 0;
        return true;
    case OP_COMMAND: return command(op);
    case OP_COMMAND_WAIT: return command_wait(op, argument);
    case OP_SET:
        if (argument >= Settings::count) errors.add("program: setting %u", argument);
        else settings.array()[argument] = op[1];
        if (argument == 0) random_.state = op[1];
        return true;
    case OP_ALLOW:
        if (argument) transfers_.forbid(op[1], op[2]);
        else transfers_.allow(op[1], op[2]);
        return true;
    case OP_CLASSIFY:
        walks_.classify(op[1] / 4096, TableClass(argument & 255), u16(argument >> 8), op[2]);
        return true;
    case OP_FORGET: walks_.forget(u16(argument), op[1], op[2]); return true;
    case OP_MARK: 
        events.add(EVENT_MARK, op_, now_, u64(model_.wsi), irq_wires());
        return true;
    case OP_TABLE_WRITES:
        for (auto& [address, word] : walks_.writes)
            events.add(EVENT_TABLE_WRITE, op_, address, word);
        walks_.writes.clear();
        walks_.log_writes = argument;
        return true;
    case OP_PIO: return pio(op, argument, length);
    case OP_SIGNAL: return signal(op, argument, length);
    case OP_RING: ring(op, argument); return true;
    case OP_TOLERATE: signals_.tolerate(u16(argument)); return true;
    case OP_AGENT: return agents_.execute(op, argument, length, op_, started_);
    case OP_WINDOW: case OP_FUNCTION: case OP_RULE: case OP_RELEASE: case OP_BAR_WRITE:
    case OP_BAR_READ:
        return device(op, argument, length);
    }
    errors.add("program: opcode %u of operation %u", unsigned(op[0] & 255), op_);
    return true;
}
