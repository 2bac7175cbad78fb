// Operations on shared devices and guests.
#include "sharing/agents.h"

Agents::Agents(Statistics&, Settings& settings, Errors& errors, Events& events, Memory& memory,
               Devices& devices)
    : settings_(settings), errors_(errors), events_(events), memory_(memory), devices_(devices),
      monitor_(errors, events), world_{memory, monitor_, errors, events, timers_, {}} {}

bool Agents::completed(const Tlp& tlp) {
    for (auto& [number, device] : nvme_)
        if (device->dma.rid == tlp.header.requester() && device->dma.completed(tlp)) return true;
    for (auto& [number, nic] : nics_)
        if (nic->dma.rid == tlp.header.requester() && nic->dma.completed(tlp)) return true;
    return false;
}

void Agents::written(unsigned function, unsigned bar, u64 offset, unsigned bytes) {
    auto found = nvme_.find(function);
    if (found != nvme_.end() && bar == 0) found->second->written(offset, bytes);
    auto nic = nics_.find(function);
    if (nic != nics_.end() && bar == 0) nic->second->written(offset, bytes);
}

void Agents::interrupted(unsigned index) {
    auto range = by_index_.equal_range(index);
    for (auto at = range.first; at != range.second; ++at) at->second->interrupt();
}

void Agents::reset() {
    timers_.clear();
    for (auto& [number, device] : nvme_) device->reset();
    for (auto& [number, guest] : guests_) guest->forget();
    for (auto& [number, nic] : nics_) nic->reset();
    for (auto& [number, guest] : nic_guests_) guest->begin();
}

bool Agents::execute(const u64* op, u32 argument, u64 length, u32 op_number, u64 started) {
    unsigned what = argument & 0xffff, number = argument >> 16;
    if (of_nic(what, number, op, length)) return true;
    auto guest = guests_.find(number);
    auto device = nvme_.find(number);
    bool of_guest = what == AGENT_GUEST_OPTIONS || what == AGENT_GO || what == AGENT_SUBMIT ||
                    what == AGENT_FORGET || what == AGENT_GIVE_UP || what == AGENT_ON_INTERRUPT;
    bool of_device = what == AGENT_NVME_OPTIONS || what == AGENT_ISSUER || what == AGENT_TRACE ||
                     what == AGENT_DISK_READ || what == AGENT_DISK_WRITE;
    if ((of_guest && guest == guests_.end()) || (of_device && device == nvme_.end())) {
        errors_.add("program: operation %u is about number %u, which does not exist", op_number, number);
        return true;
    }
    switch (AgentOperation(what)) {
    case AGENT_NVME: make_nvme(number, op); break;
    case AGENT_NVME_OPTIONS:
        set(device->second->options.array(), NvmeOptions::count, op, length);
        device->second->written(0, 8);
        break;
    case AGENT_OWNER:
        monitor_.owners[number] = {u32(op[1]), u32(op[1] >> 32), u32(op[2]), op[3], op[4]};
        break;
    case AGENT_ISSUER: device->second->issuers[unsigned(op[1])] = unsigned(op[2]); break;
    case AGENT_MONITOR:
        monitor_.offset_bits = unsigned(op[1] & 255), monitor_.key_bits = unsigned(op[1] >> 8 & 255);
        monitor_.strict = op[1] >> 16 & 1;
        break;
    case AGENT_GUEST: make_guest(number, op, length); break;
    case AGENT_GUEST_OPTIONS:
        set(guest->second->options.array(), GuestOptions::size, op, length);
        break;
    case AGENT_GO: guest->second->go(op[1]); break;
    case AGENT_GIVE_UP: guest->second->give_up(); break;
    case AGENT_SUBMIT: {
        GuestEntry entry;
        memcpy(entry.data(), op + 2, 64);
        guest->second->submit(entry, op[1] & 1);
        break;
    }
    case AGENT_FORGET: guest->second->forget(); break;
    case AGENT_REPORT: report(number, op[1], op_number); break;
    case AGENT_WAIT: return wait(op, op_number, started);
    case AGENT_POLL: return poll(op, op_number, started);
    case AGENT_DISK_WRITE: disk(true, number, op, length, op_number); break;
    case AGENT_DISK_READ: disk(false, number, op, length, op_number); break;
    case AGENT_TRACE: device->second->dma.trace = op[1]; break;
    case AGENT_ON_INTERRUPT: by_index_.emplace(unsigned(op[1]), guest->second.get()); break;
    default: errors_.add("program: agent operation %u of operation %u", what, op_number);
    }
    return true;
}

// Operations that may be about a NIC or its guests: false if this one is not.
bool Agents::of_nic(unsigned what, unsigned number, const u64* op, u64 length) {
    auto nic = nics_.find(number);
    auto guest = nic_guests_.find(number);
    bool has_nic = nic != nics_.end(), has_guest = guest != nic_guests_.end();
    if (what == AGENT_NIC) {
        auto made = std::make_unique<RingNic>(number, u16(op[1]), u8(op[1] >> 16), settings_, errors_,
                                              events_, monitor_, timers_, devices_.bars());
        made->dma.send = [this](Tlp&& tlp) { send(std::move(tlp)); };
        nics_[number] = std::move(made);
    } else if (what == AGENT_NIC_GUEST) {
        auto made = std::make_unique<NicGuest>(number, world_);
        made->pages.assign(op + 1, op + length);
        nic_guests_[number] = std::move(made);
    } else if (has_nic && what == AGENT_NIC_OPTIONS)
        set(nic->second->options.array(), NicOptions::count, op, length);
    else if (has_nic && what == AGENT_PEER) nic->second->peers[unsigned(op[1])] = unsigned(op[2]);
    else if (has_nic && what == AGENT_ISSUER) nic->second->issuers[unsigned(op[1])] = unsigned(op[2]);
    else if (has_nic && what == AGENT_TRACE) nic->second->dma.trace = op[1];
    else if (has_guest && what == AGENT_NIC_GUEST_OPTIONS)
        set(guest->second->options.array(), NicGuestOptions::size, op, length);
    else if (has_guest && what == AGENT_GO) guest->second->go(op[1]);
    else if (has_guest && what == AGENT_FORGET) guest->second->begin();
    else return false;
    return true;
}

void Agents::make_nvme(unsigned number, const u64* op) {
    auto device = std::make_unique<Nvme>(number, u16(op[1]), u8(op[1] >> 16), settings_, errors_,
                                         events_, monitor_, timers_, devices_.bars());
    device->dma.send = [this](Tlp&& tlp) { send(std::move(tlp)); };
    nvme_[number] = std::move(device);
}

// Words: kind, then its pages.
void Agents::make_guest(unsigned number, const u64* op, u64 length) {
    std::unique_ptr<Guest> guest;
    if (op[1] == 1) guest = std::make_unique<LinuxGuest>(number, world_);
    else if (op[1] == 2) guest = std::make_unique<HostileGuest>(number, world_);
    else guest = std::make_unique<ScriptedGuest>(number, world_);
    guest->pages.assign(op + 2, op + length);
    guests_[number] = std::move(guest);
}

// Words: {number, value} of each option.
void Agents::set(u64* options, unsigned count, const u64* op, u64 length) {
    for (u64 at = 1; at + 1 < length; at += 2) {
        if (op[at] < count) options[op[at]] = op[at + 1];
        else errors_.add("program: option %llu of an agent", (unsigned long long)op[at]);
    }
}

void Agents::report(unsigned number, u64 what, u32 op) {
    std::vector<u64> words;
    if (what == 0) words.assign(monitor_.array(), monitor_.array() + Monitor::count);
    if (what == 1 && nvme_.count(number)) {
        Nvme& d = *nvme_[number];
        d.counts.reads = d.dma.reads, d.counts.writes = d.dma.writes;
        d.counts.read_bytes = d.dma.read_bytes, d.counts.write_bytes = d.dma.write_bytes;
        words.assign(d.counts.array(), d.counts.array() + NvmeCounts::count);
    }
    if (what == 2 && guests_.count(number)) {
        GuestCounts& c = guests_[number]->counts;
        words.assign(c.array(), c.array() + GuestCounts::size);
    }
    if (what == 3 && nics_.count(number)) {
        NicCounts& c = nics_[number]->counts;
        words.assign(c.array(), c.array() + NicCounts::count);
    }
    if (what == 4 && nic_guests_.count(number)) {
        NicGuestCounts& c = nic_guests_[number]->counts;
        words.assign(c.array(), c.array() + NicGuestCounts::size);
    }
    events_.add_words(EVENT_AGENT, op, words);
}

// Words: clocks without a completion, for any busy guest, and in all, after which it gives up; then
// the guests that are meant, if not all. The event tells which ones did not finish.
bool Agents::wait(const u64* op, u32 number, u64 started) {
    std::vector<u64> stuck;
    bool busy = false;
    u64 now = timers_.now;
    auto look = [&](unsigned id, auto& guest) {
        if (!guest.busy()) return;
        busy = true;
        u64 since = guest.last_moved > started ? guest.last_moved : started;
        if (now - since > op[1] || now - started > op[2]) stuck.push_back(id);
    };
    for (auto& [id, guest] : guests_) look(id, *guest);
    for (auto& [id, guest] : nic_guests_) look(id, *guest);
    if (busy && stuck.empty()) return false;
    stuck.insert(stuck.begin(), now - started);
    events_.add_words(EVENT_AGENT, number, stuck);
    return true;
}

// Words: address, mask, value, clocks. Event `timeout` if memory does not become that.
bool Agents::poll(const u64* op, u32 number, u64 started) {
    if ((memory_.read(op[1]) & op[2]) == op[3]) return true;
    if (timers_.now < started + op[4]) return false;
    events_.add(EVENT_TIMEOUT, number, timers_.now);
    return true;
}

// Words: namespace, block, then the data, or how many 64-bit words.
void Agents::disk(bool write, unsigned number, const u64* op, u64 length, u32 op_number) {
    Nvme& d = *nvme_[number];
    u64 at = d.place(op[1], op[2]);
    if (write) {
        for (u64 n = 3; n < length; ++n) d.disk.write(at + 8 * (n - 3), op[n]);
        return;
    }
    std::vector<u64> words;
    for (u64 n = 0; n < op[3]; ++n) words.push_back(d.disk.read(at + 8 * n));
    events_.add_words(EVENT_MEMORY, op_number, words);
}

std::string Agents::names(unsigned what) {
    std::string text;
#define X(name, ...) text += #name "\n";
    switch (what) {
    case 0: IOVIRT_MONITOR(X) break;
    case 1: IOVIRT_NVME_COUNTS(X) break;
    case 2: IOVIRT_GUEST_COUNTS(X) break;
    case 3: IOVIRT_NVME_OPTIONS(X) break;
    case 4: IOVIRT_GUEST_OPTIONS(X) break;
    case 5: IOVIRT_NIC_COUNTS(X) break;
    case 6: IOVIRT_NIC_GUEST_COUNTS(X) break;
    case 7: IOVIRT_NIC_OPTIONS(X) break;
    case 8: IOVIRT_NIC_GUEST_OPTIONS(X) break;
    }
#undef X
    return text;
}
