// What Python calls.
#include "bench.h"

namespace {

template <class Texts> const char* join(std::string& out, const Texts& texts) {
    out.clear();
    for (auto& text : texts) out += text, out += '\n';
    return out.c_str();
}

}  // namespace

extern "C" {

void* iovirt_create(const char* waves) { return new Bench(waves); }

void iovirt_destroy(void* bench) { delete static_cast<Bench*>(bench); }

u64 iovirt_run(void* bench, const u64* program, u64 words) {
    return static_cast<Bench*>(bench)->run(program, words);
}

const u64* iovirt_events(void* bench, u64* count) {
    auto& data = static_cast<Bench*>(bench)->events.data;
    *count = data.size();
    return data.data();
}

void iovirt_clear(void* bench) {
    auto* b = static_cast<Bench*>(bench);
    b->events.data.clear();
    b->errors = Errors{};
}

const char* iovirt_errors(void* bench) {
    static std::string text;
    return join(text, static_cast<Bench*>(bench)->errors.texts);
}

u64* iovirt_statistics(void* bench) { return static_cast<Bench*>(bench)->statistics.array(); }
u64* iovirt_latency(void* bench) { return static_cast<Bench*>(bench)->statistics.latency; }
void iovirt_clear_statistics(void* bench) {
    static_cast<Bench*>(bench)->statistics = Statistics{};
}
u64* iovirt_settings(void* bench) { return static_cast<Bench*>(bench)->settings.array(); }

const char* iovirt_statistics_names() {
#define X(name) #name "\n"
    return IOVIRT_STATISTICS(X);
#undef X
}

const char* iovirt_agent_names(u64 what) {
    static std::string text;
    text = Agents::names(unsigned(what));
    return text.c_str();
}

const char* iovirt_settings_names() {
#define X(name, value) #name "\n"
    return IOVIRT_SETTINGS(X);
#undef X
}

}  // extern "C"
