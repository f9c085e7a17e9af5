#include "checkpoint/part.h"

namespace darkroom {

std::string_view part_title(Part part) {
  switch (part) {
    case Part::kClip:
      return "CLIP-L text encoder";
    case Part::kT5:
      return "T5 text encoder";
    case Part::kTransformer:
      return "transformer";
    case Part::kVae:
      return "VAE";
  }
  return "";
}

}  // namespace darkroom
