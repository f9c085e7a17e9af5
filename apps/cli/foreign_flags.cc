#include "foreign_flags.h"

#include <algorithm>

#include "text.h"

namespace cli {
namespace {

struct ForeignFlag {
  std::string_view names;  // with blanks between them, "-" for "_", without the dashes in front of a long one
  std::string_view ours;
  std::string_view hint = "";  // "": "use " and ours
};

// From diffusers, stable-diffusion.cpp, A1111 and Forge, ComfyUI, InvokeAI, mflux and Replicate.
constexpr ForeignFlag kForeign[] = {
    {"size resolution dimensions image-size aspect-ratio ar ratio", "--width", "use -W and -H, in pixels"},
    {"-w", "--width", "use -W"},
    {"num-inference-steps inference-steps num-steps sample-steps sampling-steps ddim-steps iterations",
     "--steps"},
    {"sampling-method sampling sample-method sampler-name", "--sampler"},
    {"scheduler schedule schedule-type noise-schedule", "--spacing",
     "use --sampler for the method and --spacing for the noise levels"},
    {"guidance-scale distilled-guidance distilled-guidance-scale flux-guidance distilled-cfg "
     "distilled-cfg-scale embedded-guidance",
     "--guidance", "use --guidance for what dev distilled, --cfg for true classifier-free guidance"},
    {"cfg-scale true-cfg true-cfg-scale cfg-strength scale", "--cfg",
     "use --cfg for true classifier-free guidance, --guidance for what dev distilled"},
    {"negative-prompt neg-prompt n-prompt uncond-prompt", "--negative"},
    {"num-images num-images-per-prompt num-outputs num-samples batch batch-count batch-size n-iter n-samples "
     "images -b",
     "--count"},
    {"random-seed noise-seed manual-seed generator seeds -S", "--seed"},
    {"image img input-image input init-image init-img image-path source-image img2img -i -I", "--init"},
    {"mask-image mask-img mask-path inpaint-mask inpaint", "--mask"},
    {"prompt-strength denoise denoising-strength denoise-strength image-strength img-strength", "--strength",
     "use --strength; 1 keeps nothing of the picture"},
    {"model-path model-id model-name model-dir diffusion-model unet checkpoint ckpt ckpt-path ckpt-name repo "
     "repo-id pretrained-model pretrained-model-name-or-path",
     "--model", "use --model PATH, a folder or a file"},
    {"clip-l text-encoder", "--clip"},
    {"t5xxl text-encoder-2", "--t5"},
    {"ae", "--vae"},
    {"hf-token token revision cache-dir local-files-only", "--model",
     "darkroom downloads nothing; use --model PATH"},
    {"type wtype quantize quantization quant fp8 int8 load-in-8bit 8bit", "--weights",
     "use --weights fp8 or --weights int8"},
    {"load-in-4bit 4bit nf4 q4-0 q4-k gguf", "--weights",
     "--weights q4_k has 4 bits a weight; a file that has them already needs no flag"},
    {"dtype torch-dtype half no-half fp16 bf16 fp32 full-precision", "--precision"},
    {"lowvram low-vram medvram low-ram vram max-vram memory max-memory memory-limit offload offload-to-cpu "
     "cpu-offload enable-model-cpu-offload sequential-cpu-offload vae-tiling vae-slicing vae-on-cpu "
     "clip-on-cpu",
     "--budget", "use --budget SIZE, which the whole run then stays within"},
    {"max-sequence-length max-length max-tokens", "--max-text-tokens"},
    {"out outdir out-dir output-dir output-path output-file save save-path filename", "--output"},
    {"format output-format output-type jpg jpeg webp quality", "--output", "pictures are written as PNG"},
    {"force yes -y", "--overwrite"},
    {"silent no-progress", "--quiet"},
    {"verbose debug log-level -v", "--quiet", "leave it out; without --quiet each phase is reported"},
    {"num-threads n-threads nthreads cpu-threads jobs -j", "--threads"},
    {"taesd tae preview-method preview-path stepwise-image-output-dir", "--preview"},
    {"preview-interval", "--preview-every"},
    {"metadata from-metadata config-from-metadata recipe params png-info", "--like"},
    {"teacache fbcache first-block-cache cache-mode easycache", "--cache"},
    {"diffusion-fa flash-attn flash-attention fa xformers", "--steps", "leave it out; it is always so"},
    {"gpu cuda gpu-id mps metal vulkan use-gpu", "--device",
     "use --device gpu; 'darkroom devices' lists the graphics cards"},
    {"mode -M", "--init", "leave it out; --init starts from a picture, --mask redraws a part of it"},
    {"loras lora-path lora-paths lora-scale lora-scales lora-weights adapter", "--lora",
     "use --lora FILE:STRENGTH"},
    {"lora-model-dir", "--lora-dir"},
    {"controlnet control-net control-image control-strength ip-adapter redux pulid", "--steps",
     "ControlNet and adapters are not supported yet"},
    {"upscale upscaler upscale-model upscale-factor hires hires-fix hires-steps enable-hr hr-scale "
     "face-restore",
     "--steps", "upscaling is not supported yet"},
    {"embeddings embedding embd-dir textual-inversion styles wildcards", "--steps",
     "it is not supported yet"},
    {"clip-skip", "--steps", "leave it out; FLUX.1 takes only CLIP's pooled output"},
    {"flow-shift shift", "--steps", "leave it out; the shift of the noise levels is the model's own"},
    {"server serve listen port webui api", "--steps", "there is no server yet"},
};

bool names_include(std::string_view names, std::string_view wanted) {
  for (std::size_t begin = 0; begin < names.size();) {
    const std::size_t end = std::min(names.size(), names.find(' ', begin));
    if (names.substr(begin, end - begin) == wanted) return true;
    begin = end + 1;
  }
  return false;
}

// "--Cfg_Scale" as "cfg-scale"; flags of one letter as they are, as their case means something.
std::string plain_name(const std::string& flag) {
  if (flag.size() <= 2) return flag;
  std::string name = lower(flag.substr(std::min(flag.find_first_not_of('-'), flag.size())));
  std::ranges::replace(name, '_', '-');
  return name;
}

}  // namespace

std::optional<std::string> foreign_flag_hint(const std::string& flag,
                                             const std::function<bool(std::string_view)>& has) {
  const std::string name = plain_name(flag);
  for (const ForeignFlag& foreign : kForeign) {
    if (!names_include(foreign.names, name) || !has(foreign.ours)) continue;
    return foreign.hint.empty() ? "use " + std::string(foreign.ours) : std::string(foreign.hint);
  }
  return std::nullopt;
}

}  // namespace cli
