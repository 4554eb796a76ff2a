#include "reports/sample_trace.h"

#include "model/error.h"

#ifdef RETROSIM_SAMPLE_TRACE

// The assembler copies the file into read-only data: no generated source of four bytes per byte, no copy at run time.
asm(".section .rodata\n"
    ".balign 16\n"
    "retrosim_sample_trace_begin:\n"
    ".incbin \"" RETROSIM_SAMPLE_TRACE
    "\"\n"
    "retrosim_sample_trace_end:\n"
    ".byte 0\n"
    ".text\n");

extern "C" {
extern const std::uint8_t retrosim_sample_trace_begin[];
extern const std::uint8_t retrosim_sample_trace_end[];
}

namespace retrosim {

std::string_view sample_trace_name() { return RETROSIM_SAMPLE_NAME; }

std::span<const std::uint8_t> sample_trace() { return {retrosim_sample_trace_begin, retrosim_sample_trace_end}; }

}  // namespace retrosim

#else

namespace retrosim {

std::string_view sample_trace_name() { return ""; }

std::span<const std::uint8_t> sample_trace() {
  throw InputError("--trace: expected a .rtrace file; this build has no bundled sample");
}

}  // namespace retrosim

#endif
