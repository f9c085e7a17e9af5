// The sub-commands, one file each. main() picks one by its name.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace cli {

struct Description;

struct Command {
  const char* name;
  const char* summary;  // one line, for the list and at the head of its help
  // The arguments after the sub-command's name. Throws Failure.
  void (*run)(const Command& self, const std::vector<std::string>& arguments);
  Description* description = nullptr;  // where the command is to describe its flags instead of running
};

// All of them, in the order of the list.
std::span<const Command> commands();

void run_generate(const Command& self, const std::vector<std::string>& arguments);
void run_calibrate(const Command& self, const std::vector<std::string>& arguments);
void run_convert(const Command& self, const std::vector<std::string>& arguments);
void run_info(const Command& self, const std::vector<std::string>& arguments);
void run_plan(const Command& self, const std::vector<std::string>& arguments);
void run_tokenize(const Command& self, const std::vector<std::string>& arguments);
void run_words(const Command& self, const std::vector<std::string>& arguments);
void run_options(const Command& self, const std::vector<std::string>& arguments);
void run_manual(const Command& self, const std::vector<std::string>& arguments);
void run_devices(const Command& self, const std::vector<std::string>& arguments);
void run_self_test(const Command& self, const std::vector<std::string>& arguments);
void run_bench(const Command& self, const std::vector<std::string>& arguments);

}  // namespace cli
