// Backends whose kernels are compared with the reference before anything is drawn on them.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "ops/backend.h"

namespace darkroom {

// Makes a device's backend with no kernels of classes above the one named; "": with any.
using BackendOfClass = std::function<std::unique_ptr<Backend>(const std::string& highest_class)>;

// The backend of the highest class whose kernels are right (check_kernels()); its note() says what is wrong with those
// above. What was found is kept in `folder` (empty: nowhere) under a name of the device, its driver's version, the class
// and the kernels, so that each is checked once. Errors: kDevice where the lowest class is wrong, too; those of `make`;
// kOutOfMemory.
std::unique_ptr<Backend> make_checked_backend(const BackendOfClass& make,
                                              const std::filesystem::path& folder);

}  // namespace darkroom
