#include "image/foreign/readers.h"

namespace darkroom {

std::span<const ForeignReader> foreign_readers() {
  static constexpr ForeignReader kReaders[] = {
      {RecipeSource::kSwarmUi, is_swarmui, read_swarmui},
      {RecipeSource::kComfyUi, is_comfyui, read_comfyui},
      {RecipeSource::kMflux, is_mflux, read_mflux},
      {RecipeSource::kNovelAi, is_novelai, read_novelai},
      {RecipeSource::kDrawThings, is_draw_things, read_draw_things},
      {RecipeSource::kInvokeAi, is_invokeai, read_invokeai},
      {RecipeSource::kFooocus, is_fooocus, read_fooocus},
  };
  return kReaders;
}

}  // namespace darkroom
