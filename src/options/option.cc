#include "options/option.h"

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "options/limits.h"

namespace darkroom {
namespace {

constexpr std::string_view kPrompt = "Prompt", kSteps = "Steps", kGuidance = "Guidance", kNoise = "Noise",
                           kSize = "Size", kFrom = "Starting from a picture", kLora = "LoRA",
                           kMany = "Many pictures", kCost = "Memory and precision";

constexpr OptionChoice kSamplers[] = {{"euler", "Euler"},
                                      {"heun", "Heun"},
                                      {"dpm++2m", "DPM++ 2M"},
                                      {"ipndm", "iPNDM"},
                                      {"euler-a", "Euler a"}};
constexpr OptionChoice kSpacings[] = {{"simple", "Simple"}, {"beta", "Beta"}, {"karras", "Karras"}};
constexpr OptionChoice kCaches[] = {{"off"},      {"light"},   {"balanced"}, {"auto"},
                                    {"teacache"}, {"fbcache"}, {"dbcache"},  {"fast"}};
constexpr OptionChoice kCurves[] = {{"constant"}, {"triangle"}, {"cosine"}, {"linear"}};
constexpr OptionChoice kMethods[] = {{"plain"}, {"rescale"}, {"zero-star"}, {"apg"}};
constexpr OptionChoice kOff[] = {{"off"}};
constexpr OptionChoice kGenerators[] = {{"torch-cpu", "CPU"}, {"torch-cuda", "NV"}, {"torch-cuda:nv", "NV"}};
constexpr OptionChoice kPrecisions[] = {{"auto"}, {"f32"}, {"bf16"}, {"int8"}, {"int7"}};
constexpr OptionChoice kAttentions[] = {{"exact"}, {"int8"}};
constexpr OptionChoice kStorages[] = {{"auto"}, {"as-stored"}, {"bf16"}, {"fp8"},  {"fp8-scaled"}, {"int8"},
                                      {"q8_0"}, {"q6_k"},      {"q5_k"}, {"q4_k"}, {"q4_0"}};
constexpr OptionChoice kAuto[] = {{"auto"}};

constexpr double kEdge = kMaxEdge, kCount = kMaxCount;

const Option kOptions[] = {
    {.name = "prompt",
     .field = &Request::prompt,
     .flag = "-p,--prompt,prompt",
     .value_name = "TEXT",
     .group = kPrompt,
     .help = "What to draw, in UTF-8; -p may be left out",
     .in_recipe = InRecipe::kAlways},
    {.name = "negative",
     .field = &Request::negative,
     .flag = "--negative",
     .value_name = "TEXT",
     .group = kPrompt,
     .help = "What not to draw; needs --cfg above 1",
     .otherwise = "none; empty for a model whose own cfg is above 1"},
    {.name = "steps",
     .field = &Request::steps,
     .flag = "--steps",
     .value_name = "N",
     .group = kSteps,
     .help = "How often the transformer improves the picture",
     .otherwise = "the model's own; schnell 4, dev 28",
     .range = OptionRange{1, kMaxSteps},
     .unit = "steps",
     .a1111 = "Steps"},
    {.name = "sampler",
     .field = &Request::sampler,
     .flag = "--sampler",
     .value_name = "NAME",
     .group = kSteps,
     .help = "How a step is taken: euler, heun (two passes a step), dpm++2m, ipndm or euler-a (adds noise)",
     .otherwise = "euler",
     .choices = kSamplers,
     .a1111 = "Sampler"},
    {.name = "spacing",
     .field = &Request::spacing,
     .flag = "--spacing",
     .value_name = "NAME",
     .group = kSteps,
     .help = "Where the noise levels lie: simple (even before the shift), beta (closer at both ends) or "
             "karras (after the shift)",
     .otherwise = "simple",
     .choices = kSpacings,
     .a1111 = "Schedule type"},
    {.name = "sigmas",
     .field = &Request::sigmas,
     .flag = "--sigmas",
     .value_name = "A,B,..",
     .group = kSteps,
     .help = "The noise levels themselves, in place of --steps: they fall, from at most 1, and stay above 0",
     .range = OptionRange{0, 1, true},
     .a1111 = "Sigmas"},
    {.name = "cache",
     .field = &Request::cache,
     .flag = "--cache",
     .value_name = "NAME",
     .group = kSteps,
     .help = "Steps that change little skip blocks: off, light, balanced (or auto), fast, or teacache:T, "
             "fbcache:T, dbcache:T with parameters",
     .otherwise = "off",
     .choices = kCaches,
     .more_forms = true,
     .a1111 = "Step cache"},
    {.name = "guidance",
     .field = &Request::guidance,
     .flag = "-g,--guidance",
     .value_name = "G",
     .group = kGuidance,
     .help = "Distilled guidance, which costs nothing",
     .otherwise = "the model's own; dev 3.5, schnell has none",
     .range = OptionRange{0, kMaxGuidance},
     .a1111 = "Distilled CFG Scale"},
    {.name = "cfg",
     .field = &Request::cfg,
     .flag = "--cfg",
     .value_name = "S",
     .group = kGuidance,
     .help = "True classifier-free guidance, which doubles the work; 1 turns it off",
     .otherwise = "the model's own; FLUX.1 1",
     .range = OptionRange{1, kMaxCfg},
     .a1111 = "CFG scale"},
    {.name = "guidance_schedule",
     .field = &Request::guidance_schedule,
     .flag = "--guidance-schedule",
     .value_name = "NAME",
     .group = kGuidance,
     .help = "Guidance over the steps: constant, triangle, cosine, linear, scales such as 1,4.5,1, or a file "
             "of scales",
     .otherwise = "constant",
     .choices = kCurves,
     .more_forms = true,
     .a1111 = "Guidance schedule"},
    {.name = "guidance_interval",
     .field = &Request::guidance_interval,
     .flag = "--guidance-interval",
     .value_name = "A,B",
     .group = kGuidance,
     .help = "The guided part: of the steps, such as 0.1,0.8, or of the noise levels, such as sigma:0.3,0.9",
     .otherwise = "0,1: all",
     .a1111 = "Guidance interval"},
    {.name = "cfg_method",
     .field = &Request::cfg_method,
     .flag = "--cfg-method",
     .value_name = "NAME",
     .group = kGuidance,
     .help = "How true CFG combines its two answers: plain, rescale[:SHARE], zero-star or "
             "apg[:PARALLEL[,MOMENTUM]]",
     .otherwise = "plain",
     .choices = kMethods,
     .more_forms = true,
     .a1111 = "CFG method"},
    {.name = "threshold",
     .field = &Request::threshold,
     .flag = "--threshold",
     .value_name = "P",
     .group = kGuidance,
     .help = "Dynamic thresholding under true CFG: [all:]PERCENTILE[,MIMIC], such as 99.5",
     .otherwise = "off",
     .choices = kOff,
     .more_forms = true,
     .a1111 = "Threshold"},
    {.name = "seed",
     .field = &Request::seed,
     .flag = "-s,--seed",
     .value_name = "N",
     .group = kNoise,
     .help = "The number that the noise is drawn from, 0 to 2^64 - 1",
     .otherwise = "one is drawn and printed",
     .a1111 = "Seed"},
    {.name = "width",
     .field = &Request::width,
     .flag = "-W,--width",
     .value_name = "N",
     .group = kSize,
     .help = "Pixels, a multiple of 16",
     .otherwise = "the model's own; FLUX.1 1024",
     .range = OptionRange{1, kEdge},
     .unit = "pixels"},
    {.name = "height",
     .field = &Request::height,
     .flag = "-H,--height",
     .value_name = "N",
     .group = kSize,
     .help = "Pixels, a multiple of 16",
     .otherwise = "the model's own; FLUX.1 1024",
     .range = OptionRange{1, kEdge},
     .unit = "pixels"},
    {.name = "rng",
     .field = &Request::rng,
     .flag = "--rng",
     .value_name = "NAME",
     .group = kNoise,
     .help = "Whose random numbers: torch-cpu, torch-cuda (a GPU with a thread for every number), or "
             "torch-cuda:CARD with a card's name (rtx3060) or its launch size (56x1536)",
     .otherwise = "torch-cpu",
     .choices = kGenerators,
     .more_forms = true,
     .in_recipe = InRecipe::kAlways,
     .a1111 = "RNG"},
    {.name = "noise",
     .field = &Request::noise_path,
     .flag = "--noise",
     .value_name = "FILE.safetensors",
     .group = kNoise,
     .help = "Initial latents in place of drawn noise: tensor 'latents', f32 [1, tokens, channels], packed",
     .a1111 = "Noise file"},
    {.name = "strength",
     .field = &Request::strength,
     .flag = "--strength",
     .value_name = "S",
     .group = kFrom,
     .help = "The part of the steps that is taken from --init on",
     .otherwise = "0.6",
     .range = OptionRange{0, 1, true},
     .a1111 = "Denoising strength"},
    {.name = "init",
     .field = &Request::init_path,
     .flag = "--init",
     .value_name = "FILE",
     .group = kFrom,
     .help = "Start from this picture (PNG, JPEG or WebP) under noise",
     .a1111 = "Init image"},
    {.name = "mask",
     .field = &Request::mask_path,
     .flag = "--mask",
     .value_name = "FILE",
     .group = kFrom,
     .help = "A picture of --init's shape: white is drawn again, black is kept",
     .a1111 = "Mask image"},
    {.name = "max_text_tokens",
     .field = &Request::max_text_tokens,
     .flag = "--max-text-tokens",
     .value_name = "N",
     .group = kPrompt,
     .help = "The length that T5's part of the prompt is cut to",
     .otherwise = "the model's own; schnell 256, dev 512",
     .range = OptionRange{1, kMaxTextTokens},
     .unit = "tokens",
     .a1111 = "Max text tokens"},
    {.name = "loras",
     .field = &Request::loras,
     .flag = "--lora",
     .value_name = "FILE[:S]",
     .group = kLora,
     .help = "A LoRA for the transformer or the text encoders, with its strength S; may be repeated. A name "
             "without "
             "a folder is also looked for in --lora-dir and in the loras folder beside the model",
     .otherwise = "none; S 1",
     .range = OptionRange{-kMaxLoraStrength, kMaxLoraStrength}},
    {.name = "lora_dir",
     .field = &Request::lora_dir,
     .flag = "--lora-dir",
     .value_name = "DIR",
     .group = kLora,
     .help = "A folder of LoRAs; with it <lora:NAME:0.8> in the prompt is a LoRA, and no part of the text",
     .in_recipe = InRecipe::kNo},
    {.name = "count",
     .field = &Request::count,
     .flag = "-n,--count",
     .value_name = "N",
     .group = kMany,
     .help = "Pictures; their seeds are N, N + 1 and so on",
     .otherwise = "1",
     .range = OptionRange{1, kCount},
     .unit = "pictures",
     .in_recipe = InRecipe::kNo},
    {.name = "sheet",
     .field = &Request::sheet,
     .flag = "--sheet",
     .value_name = {},
     .group = kMany,
     .help = "All pictures as one PNG, in a grid",
     .in_recipe = InRecipe::kNo},
    {.name = "columns",
     .field = &Request::sheet_columns,
     .flag = "--columns",
     .value_name = "N",
     .group = kMany,
     .help = "Columns of the sheet",
     .otherwise = "as many as make it nearly square",
     .range = OptionRange{1, kCount},
     .in_recipe = InRecipe::kNo},
    {.name = "precision",
     .field = &Request::precision,
     .flag = "--precision",
     .value_name = "NAME",
     .group = kCost,
     .help =
         "Type of the hidden states: auto (as the weights are stored), f32 or bf16; int8, int7: bf16, and "
         "the transformer's blocks multiply in 8 or 7 bits",
     .otherwise = "auto",
     .choices = kPrecisions,
     .a1111 = "Precision"},
    {.name = "text_precision",
     .field = &Request::text_precision,
     .flag = "--text-precision",
     .value_name = "NAME",
     .group = kCost,
     .help = "The same for the text encoders: auto (as --precision, but never int8 or int7), f32, bf16; "
             "int8, int7: bf16, and T5's layers multiply in 8 or 7 bits",
     .otherwise = "auto",
     .choices = kPrecisions,
     .a1111 = "Text precision"},
    {.name = "int8_group",
     .field = &Request::int8_group,
     .flag = "--int8-group",
     .value_name = "N",
     .group = kCost,
     .help =
         "Where int8 or int7 multiplies: columns of a token's values that share a scale, such as 128; 0: all",
     .otherwise = "0",
     .range = OptionRange{0, kMaxInt8Group},
     .a1111 = "Int8 group"},
    {.name = "smooth",
     .field = &Request::smooth,
     .flag = "--smooth",
     .value_name = "FILE",
     .group = kCost,
     .help = "With --precision int8 or int7: smoothing factors, a file that 'darkroom calibrate' made for "
             "the model; "
             "auto (the model's own, if it has some) or off",
     .otherwise = "auto",
     .a1111 = "Smooth"},
    {.name = "attention",
     .field = &Request::attention,
     .flag = "--attention",
     .value_name = "NAME",
     .group = kCost,
     .help =
         "Products of the transformer's attention: exact (in f32), or int8 (in 8 bits, less time for large "
         "pictures)",
     .otherwise = "exact",
     .choices = kAttentions,
     .a1111 = "Attention"},
    {.name = "weights",
     .field = &Request::weights,
     .flag = "--weights",
     .value_name = "KIND",
     .group = kCost,
     .help =
         "What the transformer's matrices become in memory: as-stored, bf16, fp8, fp8-scaled, int8, q8_0, "
         "q6_k, q5_k, q4_k, q4_0, or auto (what the budget asks for)",
     .otherwise = "as-stored",
     .choices = kStorages,
     .a1111 = "Weights"},
    {.name = "budget",
     .field = &Request::budget,
     .flag = "--budget",
     .value_name = "SIZE",
     .group = kCost,
     .help = "Memory to stay within, a GPU's where one draws: 12GiB, 8G (1024^3), 8GB (1000^3), 6000MiB",
     .otherwise = "auto: what is free",
     .unit = "bytes",
     .choices = kAuto,
     .more_forms = true,
     .in_recipe = InRecipe::kNo},
    {.name = "ram_budget",
     .field = &Request::ram_budget,
     .flag = "--ram-budget",
     .value_name = "SIZE",
     .group = kCost,
     .help = "Where a GPU draws: the host's memory to stay within, as for --budget",
     .otherwise = "auto: what is free",
     .unit = "bytes",
     .choices = kAuto,
     .more_forms = true,
     .in_recipe = InRecipe::kNo},
    {.name = "scratch",
     .field = &Request::scratch_folder,
     .flag = "--scratch",
     .value_name = "DIR",
     .group = kCost,
     .help = "A folder on a disk for what a small budget leaves no room for",
     .otherwise = "/var/tmp",
     .in_recipe = InRecipe::kNo},
};

// As flags and messages for people spell it.
std::string shown_name(const Option& option) {
  std::string name(option.name);
  std::ranges::replace(name, '_', '-');
  return name;
}

void check_number(const Option& option, double value) {
  const OptionRange& range = *option.range;
  const bool low = range.above ? value > range.low : value >= range.low;
  require(low && value <= range.high, ErrorCode::kUsage, "{} is {}, allowed are {}{} to {}",
          shown_name(option), value, range.above ? "above " : "", range.low, range.high);
}

void check_name(const Option& option, const std::string& value) {
  if (option.choices.empty() || option.more_forms) return;
  if (std::ranges::find(option.choices, value, &OptionChoice::name) != option.choices.end()) return;
  std::string names;
  for (const OptionChoice& choice : option.choices) {
    if (!names.empty()) names += &choice == &option.choices.back() ? " and " : ", ";
    names += choice.name;
  }
  fail(ErrorCode::kUsage, "{} is '{}'; there are {}", shown_name(option), printable(value), names);
}

struct Check {
  const Option& option;
  const Request& request;

  void operator()(std::string Request::*field) const { check_name(option, request.*field); }
  void operator()(std::optional<int64_t> Request::*field) const {
    if (request.*field) check_number(option, static_cast<double>(*(request.*field)));
  }
  void operator()(std::optional<double> Request::*field) const {
    if (request.*field) check_number(option, *(request.*field));
  }
  void operator()(std::vector<LoraChoice> Request::*field) const {
    const std::vector<LoraChoice>& loras = request.*field;
    require(loras.size() <= kMaxLoras, ErrorCode::kUsage, "{} LoRAs, at most {} are allowed", loras.size(),
            kMaxLoras);
    for (const LoraChoice& lora : loras) {
      if (lora.strength >= option.range->low && lora.strength <= option.range->high) continue;
      fail(ErrorCode::kUsage, "the strength of the LoRA {} is {}, allowed are {} to {}",
           printable(lora.path.filename().string()), lora.strength, option.range->low, option.range->high);
    }
  }
  // Lists of numbers have rules of their own; texts that may be anything, and switches, have none.
  void operator()(auto) const {}
};

}  // namespace

std::span<const Option> options() { return kOptions; }

const Option* find_option(std::string_view name) {
  const auto found = std::ranges::find(kOptions, name, &Option::name);
  return found == std::end(kOptions) ? nullptr : &*found;
}

bool is_own(const Option& option, const Request& request) {
  static const Request own;
  return std::visit([&](auto field) { return request.*field == own.*field; }, option.field);
}

void check_ranges(const Request& request) {
  for (const Option& option : options()) std::visit(Check{option, request}, option.field);
}

}  // namespace darkroom
