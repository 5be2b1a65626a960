// An error that the caller is told about. It never leaves the library: api.cpp turns it into a status.
#pragma once
#include <stdexcept>
#include <string>

#include "api.h"

namespace bertedge {

class Refusal : public std::runtime_error {
 public:
  Refusal(be_status status, const std::string& reason) : std::runtime_error(reason), status_(status) {}
  be_status status() const { return status_; }

 private:
  be_status status_;
};

}  // namespace bertedge
