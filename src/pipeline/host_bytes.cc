#include "pipeline/host_bytes.h"

namespace darkroom {
namespace {

std::size_t count(int64_t n) { return static_cast<std::size_t>(n); }

std::size_t floats(int64_t n) { return sizeof(float) * count(n); }

// The sizes of what is held, each once.
struct Held {
  const flux::Config& config;
  const Job& job;

  std::size_t picture() const { return 3 * count(job.width * job.height); }
  std::size_t latents() const { return floats(job.image_tokens() * config.in_channels); }
  std::size_t embeddings() const {
    const std::size_t prompts = job.true_cfg ? 2 : 1;
    return prompts * floats(config.pooled_projection_dim + job.max_text_tokens * config.joint_attention_dim);
  }
  // The picture, the encoder's moments, the latents drawn from them and their noise, and the mask of latents.
  std::size_t source() const {
    if (!job.starts_from_picture()) return 0;
    const std::size_t mask = job.mask_path.empty() ? 0 : floats(4 * job.image_tokens());
    return picture() + 4 * latents() + mask;
  }
  // From the beginning to the end of a run: the sheet, noise that was given, the source.
  std::size_t lasting() const {
    const std::size_t sheet = job.sheet ? 3 * count(job.sheet->width * job.sheet->height) : 0;
    return sheet + (job.noise_path.empty() ? 0 : latents()) + source();
  }
  // The pictures that wait to be decoded.
  std::size_t waiting() const { return count(job.count - 1) * latents(); }
  // Latents, what the sampler and the guidance hold beside them, and the answer to the negative prompt; at
  // least two, for before them there is the noise, twice.
  std::size_t sampling() const {
    const int guided = job.true_cfg ? 1 + guidance_vectors(job.cfg_rule) : 0;
    return count(1 + sampler_vectors(job.sampler) + guided) * latents();
  }
};

}  // namespace

std::size_t host_bytes(Phase phase, const ModelConfig& config, const Job& job,
                       const Backend::Workspace& workspace) {
  const Held held{config.transformer, job};
  switch (phase) {
    case Phase::kEncodePicture:  // its pixels in f32, and the moments once more
      return held.lasting() + held.waiting() + sizeof(float) * held.picture() + 2 * held.latents() +
             workspace.conv_bytes;
    case Phase::kEncodeClip:
      return held.lasting();
    case Phase::kEncodeT5:
      return held.lasting() + held.embeddings();
    case Phase::kModulate:
      return held.lasting() + held.waiting() + held.embeddings();
    case Phase::kDenoise:
      return held.lasting() + held.waiting() + held.sampling();
    case Phase::kDecode:  // latents as tokens and as an image; the finished picture
      return held.lasting() + held.waiting() + 2 * held.latents() + held.picture() + workspace.conv_bytes;
  }
  return 0;
}

}  // namespace darkroom
