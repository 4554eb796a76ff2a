// The files of the HTML report, compiled into the program (see cmake/embed.cmake).
#pragma once

#include <span>

#include "model/embedded.h"

namespace retrosim::embedded {

/// "page" (HTML with {{PLACEHOLDERS}}), "style", "script", and "chart.min" (Chart.js).
std::span<const File> report_assets();

}  // namespace retrosim::embedded
