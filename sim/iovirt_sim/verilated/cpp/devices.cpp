// Requests of cores at devices: where they go, and what they do there.
#include "devices.h"

namespace {

using ull = unsigned long long;

std::vector<u8> enabled_bytes(const Header& h) {
    std::vector<u8> enabled(4 * h.length_dw(), 1);
    for (unsigned n = 0; n < 4; ++n) {
        enabled[n] = h.first_be() >> n & 1;
        if (enabled.size() > 4) enabled[enabled.size() - 4 + n] = h.last_be() >> n & 1;
    }
    return enabled;
}

u32 byte_mask(unsigned enables) {
    u32 mask = 0;
    for (unsigned n = 0; n < 4; ++n)
        if (enables >> n & 1) mask |= 255u << 8 * n;
    return mask;
}

}  // namespace

void Devices::function(unsigned number, Function&& function) {
    functions_[number] = std::move(function);
}

bool Devices::received(Tlp& tlp, u64 cycle) {
    const Header& h = tlp.header;
    if (functions_.empty() || !(h.memory() || h.configuration())) return false;
    check(tlp);
    Place where = place(tlp);
    u64 access = accesses_.request(tlp, where.function && where.function->shared && tlp.header.has_data());
    if (h.memory() && h.has_data()) {
        ++statistics_.writes_to_devices;
        if (where.function) write_memory(tlp, where);
        else ++statistics_.unclaimed;
        return true;
    }
    ++statistics_.requests_to_devices;
    Request request{tlp, where, access, choose(tlp, where), 0, 0, {}};
    bool good = where.function && request.rule.action == Rule::OK;
    if (good && h.configuration() && h.has_data()) configure(tlp, where);
    if (!h.has_data()) request.payload = read(tlp, where);
    if (!where.function && request.rule.action != Rule::NONE) {
        request.rule.action = Rule::UR, request.rule.piece = 0;
        ++statistics_.unclaimed;
    }
    bool told = request.rule.forged != Rule::INSTEAD && !request.rule.late &&
                request.rule.action == Rule::OK;
    bool again = h.configuration() && request.rule.action == Rule::RRS;
    std::vector<u8> enabled = enabled_bytes(h);
    accesses_.answer(access, h.memory() ? h.address() : h.config_offset(),
                     reinterpret_cast<const u8*>(h.has_data() ? nullptr : request.payload.data()),
                     enabled.data(), unsigned(enabled.size()),
                     told ? Access::GOOD : again ? Access::RETRIED : Access::FAILED);
    answer(request, cycle);
    return true;
}

// Form of a request (PCIe Base, 2.2.7), and whose tag it has (rule S6).
void Devices::check(const Tlp& tlp) {
    const Header& h = tlp.header;
    auto complain = [&](const char* what) {
        errors_.add("tx: request %08x %08x %08x %08x %s", h.word[0], h.word[1], h.word[2],
                    h.word[3], what);
    };
    unsigned length = h.length_dw(), first = h.first_be(), last = h.last_be();
    if (h.configuration() && (length != 1 || last || h.tc() || h.attr()))
        complain("is no legal configuration request");
    if (h.memory()) {
        if (h.wide() != (h.address() >> 32 != 0)) complain("has the wrong size of header");
        if (h.address() / 4096 != (h.address() + 4 * length - 1) / 4096) complain("crosses 4 KiB");
        u64 limit = h.has_data() ? settings_.mps : settings_.mrrs;
        if (4 * length > limit) complain("is too long");
        bool holes = (first & (first + (first & -first))) || (last & (last + (last & -last)));
        bool tight = length == 1 ? !last : (first & 8) && (last & 1) && !holes;
        bool pair = length == 2 && h.address() % 8 == 0 && first && last;
        if (!tight && !pair) complain("has illegal byte enables");
    }
    if (!h.non_posted()) return;
    if (live_.count(h.tag())) complain("uses a tag whose answer is under way");
}

bool Devices::reachable(unsigned parent, u64 address) const {
    for (unsigned hops = 0; parent != Function::NOBODY && hops < 16; ++hops) {
        auto bridge = functions_.find(parent);
        if (bridge == functions_.end() || !bridge->second.forwards(address)) return false;
        parent = bridge->second.parent;
    }
    return true;
}

Devices::Place Devices::place(const Tlp& tlp) {
    const Header& h = tlp.header;
    Place where;
    if (h.configuration()) {
        unsigned bus = h.word[2] >> 24, devfn = h.word[2] >> 16 & 255;
        unsigned parent = Function::NOBODY;
        for (unsigned hops = 0; h.type() == 5 && hops < 16; ++hops) {   // type 1: through bridges
            unsigned next = Function::NOBODY;
            for (auto& [number, f] : functions_)
                if (f.parent == parent && f.routes(bus)) next = number;
            if (next == Function::NOBODY) return where;
            parent = next;
            if ((functions_[next].value[6] >> 8 & 255) == bus) break;
        }
        for (auto& [number, f] : functions_)
            if (f.parent == parent && f.devfn == devfn) where.function = &f, where.number = number;
        where.offset = h.word[2] & 0xffc;
        if (where.function) where.function->bus = u8(bus);
        return where;
    }
    for (auto& [number, f] : functions_) {
        if (!f.decodes_memory() || !reachable(f.parent, h.address())) continue;
        for (const Function::Bar& bar : f.bars) {
            u64 base = f.bar_base(bar);
            if (h.address() < base || h.address() - base >= bar.size) continue;
            return {&f, number, bar.number, h.address() - base};
        }
    }
    return where;
}

Rule Devices::choose(const Tlp& tlp, const Place& where) {
    const Header& h = tlp.header;
    unsigned kind = h.memory() ? Rule::MEMORY_READ : h.has_data() ? Rule::CONFIG_WRITE :
                    Rule::CONFIG_READ;
    u64 address = h.memory() ? h.address() : h.config_offset();
    for (std::size_t n = 0; n < rules_.size(); ++n) {
        Rule& rule = rules_[n];
        if (!(rule.kinds & kind) || address < rule.low || address > rule.high) continue;
        if (rule.function != Function::NOBODY && rule.function != where.number) continue;
        Rule chosen = rule;
        if (rule.count && !--rule.count) rules_.erase(rules_.begin() + n);
        return chosen;
    }
    Rule usual;
    usual.delay = u32(settings_.device_delay), usual.jitter = u32(settings_.device_jitter);
    usual.split = u32(settings_.device_split);
    return usual;
}

void Devices::write_memory(const Tlp& tlp, const Place& where) {
    std::vector<u8> enabled = enabled_bytes(tlp.header);
    const u8* bytes = reinterpret_cast<const u8*>(tlp.payload.data());
    u64 at = bar_address(where.number, where.bar, where.offset);
    for (std::size_t n = 0; n < enabled.size() && n < 4 * tlp.payload.size(); ++n)
        if (enabled[n]) bars_.write_strobed(at + n, bytes + n, 1, 1);
    if (!written) return;
    std::size_t first = 0, last = enabled.size();
    while (first < last && !enabled[first]) ++first;
    while (last > first && !enabled[last - 1]) --last;
    if (last > first)
        written(where.number, where.bar, where.offset + first, unsigned(last - first));
}

void Devices::configure(const Tlp& tlp, const Place& where) {
    if (tlp.payload.empty()) return;
    u32 mask = where.function->mask[where.offset / 4] & byte_mask(tlp.header.first_be());
    u32& value = where.function->value[where.offset / 4];
    value = (value & ~mask) | (tlp.payload[0] & mask);
}

std::vector<u32> Devices::read(const Tlp& tlp, const Place& where) const {
    std::vector<u32> payload(tlp.header.length_dw(), 0);
    if (!where.function) return payload;
    if (tlp.header.configuration()) payload[0] = where.function->value[where.offset / 4];
    else
        bars_.read_bytes(bar_address(where.number, where.bar, where.offset),
                         reinterpret_cast<u8*>(payload.data()), unsigned(4 * payload.size()));
    return payload;
}
