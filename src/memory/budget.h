// How much memory there is, how much this process holds, and how people write such numbers.
//
// Reads /proc and the cgroup files; a system without them gives what it can (0 stands for unknown).
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>

namespace darkroom::memory {

// "12GiB", "8G", "6000MiB", "1.5 GB", "4096": K, M, G, T with or without "iB" are powers of 1024, with "B"
// powers of 1000; without a unit bytes. Nothing for any other text, or less than one byte, or 2^63 and more.
std::optional<std::size_t> parse_bytes(const std::string& text);

// "1.5 GiB", "200 B".
std::string byte_text(std::size_t bytes);

// What can be had now without swapping: the system's estimate, or less where a cgroup (v2 or v1) of
// this process or one above it allows less. Tests pass another `root` than "/". Nothing where the
// system does not say.
std::optional<std::size_t> available_bytes(const std::filesystem::path& root = "/");

// available_bytes() without a margin for what no plan counts: a sixteenth, at least 256 MiB, at most half. Of
// process_bytes, which the plan counts for the process itself, what it holds already was taken from what is
// available, and comes on top.
std::optional<std::size_t> automatic_budget(std::size_t process_bytes,
                                            const std::filesystem::path& root = "/");

// What is free of a device's memory without a margin for the driver and what others draw: a sixteenth, at least
// 400 MiB, at most half.
std::size_t automatic_device_budget(std::size_t free_bytes);

// The resident set of this process now. peak.h has the largest.
std::size_t resident_bytes();

}  // namespace darkroom::memory
