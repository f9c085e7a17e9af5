// The ops on a device, one function each: they record dispatches. Arguments are as ops/backend.h says, their
// data addresses of device memory.
#pragma once

#include "backends/vulkan/recorder.h"
#include "ops/backend.h"

namespace darkroom::vulkan {

// pointwise.cc
void add(Recorder& recorder, const AddArgs& args);
void activate(Recorder& recorder, const ActivateArgs& args);
void gated_gelu(Recorder& recorder, const GatedGeluArgs& args);
void convert(Recorder& recorder, const ConvertArgs& args);

// embed.cc
void embed(Recorder& recorder, const EmbedArgs& args);

}  // namespace darkroom::vulkan
