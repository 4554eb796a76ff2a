// What `retrosim calibrate fit-published` leaves behind.
#pragma once

#include <string>

#include "calibrate/fit_published.h"
#include "reports/json_text.h"

namespace retrosim {

struct CalibrationFiles {
  std::string profile;   // profile JSON; required
  std::string hold_out;  // CSV of the held-out samples; empty: none
  std::string report;    // Markdown; empty: none

  /// Throws InputError naming the flag of a file that could not be written; to be asked before fitting.
  void require_writable() const;
  /// Throws InputError when a file cannot be written.
  void write(const PublishedFit& fit) const;
};

/// Schema retrosim.calibrate/1: the profile's name and, per operation kind, parameters, hold-out errors and samples.
Json calibration_json(const PublishedFit& fit);
std::string calibration_text(const PublishedFit& fit);

}  // namespace retrosim
