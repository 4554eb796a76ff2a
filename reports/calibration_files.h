// What `retrosim calibrate fit-published` leaves behind.
#pragma once

#include <string>

#include "calibrate/fit_calibration.h"
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
/// The same of a fit to own samples, with "ops" and "steps": errors over all that was held out, of operations and of
/// whole steps, the plain sum of the operations and the naive roofline beside them.
Json calibration_fit_json(const CalibrationFit& fit);
std::string calibration_text(const PublishedFit& fit);

}  // namespace retrosim
