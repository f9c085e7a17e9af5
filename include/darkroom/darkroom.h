/* darkroom draws pictures from text with FLUX.1. This is its C API, and the only header that a program needs.
 *
 * An engine owns the threads and the backend that computes. A model is an opened model folder.
 *
 * Errors. Every call that can fail returns a darkroom_status. If it is not DARKROOM_OK,
 * darkroom_last_error() says in one line what is wrong, where, and what to do.
 *
 * Structs. Every struct begins with its size in bytes, so that later versions can add fields at its end.
 *   - Fill a struct that you pass in with its *_init function, then set the fields that you want.
 *   - A binding that cannot call the inline *_init functions calls *_init_sized with the size that its own
 *     struct has. It must not look up *_init in the shared library: those symbols serve programs that were
 *     compiled before 0.1 had *_init_sized, and fill the fields of that time only.
 *   - A shorter struct of an older program is accepted; the fields that it lacks have their default values.
 *   - A longer struct of a newer program is accepted if the fields that this library does not know are 0.
 *     Otherwise the call returns DARKROOM_USAGE. So 0 means "default" in every field that is added.
 *   - A struct that a callback gets has the library's size. Look at struct_size before you read a field that
 *     is newer than the oldest library that your program runs with.
 *
 * Memory. Strings are UTF-8 and end with a zero byte. The library copies what you pass in, or uses it during
 * the call only. Comments say how long you may use what you get.
 *
 * Threads. One engine runs one call at a time. Only darkroom_cancel() and darkroom_clear_cancel() may be
 * called at any time, from any thread and from a signal handler. Several engines may run at once, each in its
 * own thread, and may share a model. The library starts threads, and changes no signal handler, locale,
 * environment variable or other state of the process.
 *
 * Callbacks run on the thread that made the call. No exception and no longjmp() may leave one. Of the engine
 * in the middle of its call, a callback may use darkroom_save_png(), darkroom_save_latents(),
 * darkroom_plan(), darkroom_tokenize(), darkroom_model_settings(), darkroom_info(), darkroom_read_recipe(),
 * darkroom_describe_cpu(), darkroom_describe_devices(), darkroom_open(), darkroom_open_dummy() and every call that returns no status
 * except darkroom_destroy(). It must not close the model in use. darkroom_generate(), darkroom_convert(),
 * darkroom_calibrate(), darkroom_bench() and darkroom_self_test() return DARKROOM_USAGE there. Other engines are free. If such
 * a call fails, read the error inside the callback: the outer call replaces it when it returns. */
#ifndef DARKROOM_DARKROOM_H_
#define DARKROOM_DARKROOM_H_

#include <stddef.h>
#include <stdint.h>

/* The version of this header. darkroom_version_number() gives that of the library. */
#define DARKROOM_VERSION_MAJOR 0
#define DARKROOM_VERSION_MINOR 1
#define DARKROOM_VERSION_PATCH 0
/* Compare as a number: 10203 is 1.2.3. */
#define DARKROOM_VERSION_NUMBER \
  (DARKROOM_VERSION_MAJOR * 10000 + DARKROOM_VERSION_MINOR * 100 + DARKROOM_VERSION_PATCH)

/* Define DARKROOM_STATIC where a program on Windows links the library statically. */
#if defined(_WIN32)
#if defined(DARKROOM_BUILDING)
#define DARKROOM_API __declspec(dllexport)
#elif defined(DARKROOM_STATIC)
#define DARKROOM_API
#else
#define DARKROOM_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define DARKROOM_API __attribute__((visibility("default")))
#else
#define DARKROOM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The values are the exit codes of the command line. */
typedef enum darkroom_status {
  DARKROOM_OK = 0,
  /* Anything that has no code of its own. */
  DARKROOM_FAILURE = 1,
  /* The request is wrong. */
  DARKROOM_USAGE = 2,
  /* A model file is missing or invalid. */
  DARKROOM_MODEL = 3,
  /* The work does not fit into memory. */
  DARKROOM_OUT_OF_MEMORY = 4,
  /* A result cannot be written. */
  DARKROOM_OUTPUT = 5,
  /* A graphics card failed. */
  DARKROOM_DEVICE = 6,
  /* darkroom_cancel() or a callback stopped the call. */
  DARKROOM_CANCELLED = 130
} darkroom_status;

typedef struct darkroom_engine darkroom_engine;
typedef struct darkroom_model darkroom_model;

/* Returns the library's version, "0.1.0". The string is static. */
DARKROOM_API const char* darkroom_version(void);
/* Returns the library's version as DARKROOM_VERSION_NUMBER. */
DARKROOM_API int darkroom_version_number(void);

/* ---- the engine ---- */

typedef struct darkroom_options {
  size_t struct_size;
  /* 0: one thread for each processor that this process may use. */
  int threads;
  /* Where to draw: NULL or "cpu"; "gpu", the best graphics card; "gpu:N", the N-th device of
   * darkroom_describe_devices(), or a part of its name; "auto", a card with memory of its own if there is one and
   * the picture fits there, and else the cpu; "reference", slow, for checking results. */
  const char* backend;
  /* NULL or "auto"; or the instruction set to use, one of those that darkroom_describe_cpu() lists. */
  const char* isa;
  /* NULL: no cache. Otherwise the folder that keeps the embeddings of prompts. File names in it are digests;
   * no file holds the text of a prompt. */
  const char* embed_cache;
  /* NULL: "256MiB". When the cache is larger, the entries that were not used for the longest time go. */
  const char* embed_cache_size;
  /* NULL: none. Otherwise the folder that keeps what a graphics card's driver has compiled. */
  const char* shader_cache;
} darkroom_options;

DARKROOM_API void darkroom_options_init_sized(darkroom_options* options, size_t struct_size);
static inline void darkroom_options_init(darkroom_options* options) {
  darkroom_options_init_sized(options, sizeof(darkroom_options));
}

/* Makes an engine. options may be NULL. *engine is set on failure too, so that its error can be read; it is
 * NULL only if there is no memory for it. Destroy it in either case. */
DARKROOM_API darkroom_status darkroom_create(const darkroom_options* options, darkroom_engine** engine);
/* Frees an engine. Close its models first. NULL is allowed. */
DARKROOM_API void darkroom_destroy(darkroom_engine* engine);

/* Returns the error of the last call on this engine, "" if that call succeeded. Valid until the next call on
 * the engine. */
DARKROOM_API const char* darkroom_last_error(const darkroom_engine* engine);

/* Stops darkroom_generate(), darkroom_convert(), darkroom_calibrate(), darkroom_bench() or darkroom_self_test(): the call
 * in progress returns DARKROOM_CANCELLED, after at most one block of the model. Async-signal-safe.
 *
 * A cancel is never lost. If none of these calls is in progress, or if the one in progress is already past
 * its last check, the cancel waits, and the next of these calls returns DARKROOM_CANCELLED at once. A call
 * that returns DARKROOM_CANCELLED takes the cancel with it, so one call ends for one or more cancels. */
DARKROOM_API void darkroom_cancel(darkroom_engine* engine);
/* Drops a cancel that waits. Returns 1 if there was one, otherwise 0. Async-signal-safe.
 *
 * Use it between two jobs, when a cancel that came too late for the first must not stop the second. A job
 * queue calls it before each job, and then looks whether that job is still wanted. */
DARKROOM_API int darkroom_clear_cancel(darkroom_engine* engine);

/* Frees a string that a call below returned through a char**. NULL is allowed. */
DARKROOM_API void darkroom_free(char* text);

/* ---- models ---- */

/* Where the files of a model are. */
typedef struct darkroom_model_files {
  size_t struct_size;
  /* A folder in diffusers layout; a repository in the cache of huggingface_hub, by its path or its name
   * ("black-forest-labs/FLUX.1-schnell"); a .safetensors or .gguf file with a transformer, alone or with other
   * parts; a folder with one such file. What a file is shows in its content; its name does not matter. */
  const char* model;
  /* A part from another file or folder. NULL: the one of the model, or else one that is found beside the
   * transformer, in the folders of the ComfyUI or Forge tree that it lies in, or in the cache of
   * huggingface_hub. Nothing is downloaded. */
  const char* clip;
  const char* t5;
  const char* vae;
  /* The cache of huggingface_hub, where names are looked up and missing parts are found. NULL: none. */
  const char* hub_cache;
} darkroom_model_files;

DARKROOM_API void darkroom_model_files_init_sized(darkroom_model_files* files, size_t struct_size);
static inline void darkroom_model_files_init(darkroom_model_files* files) {
  darkroom_model_files_init_sized(files, sizeof(darkroom_model_files));
}

/* Opens a model. Reads the configs and the headers of the weight files now, tokenizers and weights when they
 * are needed. A part that is not found is an error once it is needed. Engines may share a model. Close it before
 * the engine that opened it is destroyed. */
DARKROOM_API darkroom_status darkroom_open_files(darkroom_engine* engine, const darkroom_model_files* files,
                                                 darkroom_model** model);
/* The same with no more than darkroom_model_files.model. */
DARKROOM_API darkroom_status darkroom_open(darkroom_engine* engine, const char* path, darkroom_model** model);
/* Opens a model whose weights come from a formula, without files: "tiny", or "dev" and "schnell" with the
 * sizes of the real ones. */
DARKROOM_API darkroom_status darkroom_open_dummy(darkroom_engine* engine, const char* name,
                                                 darkroom_model** model);
/* Frees a model. NULL is allowed. */
DARKROOM_API void darkroom_close(darkroom_model* model);
/* Returns the model's name in recipes: the name of its folder, "pinhole-dev" for the folder dev in the model
 * pinhole, or "dummy-dev". It is never a path. Valid until the model is closed. */
DARKROOM_API const char* darkroom_model_name(const darkroom_model* model);
/* Returns what the model's folder recommends and which prompts it understands, as its optional darkroom.json
 * says:
 *   {"width", "height", "steps", "cfg", "guidance", "max_text_tokens",
 *    "prompts": {"about": "one line", "grammar": [...], "words": [...], "examples": [...]},
 *    "preview": {"rgb": [[r, g, b] for each latent channel], "bias": [r, g, b]}}
 * What the file does not say is absent; without a file the answer is {}. The numbers are the model's own
 * values of a request. If there are words, a prompt with a word that is not among them gets a note. Free
 * *text with darkroom_free(). */
DARKROOM_API darkroom_status darkroom_model_settings(darkroom_engine* engine, darkroom_model* model,
                                                     char** text);

/* ---- drawing ---- */

/* A run that starts from a picture begins with DARKROOM_ENCODE_PICTURE. The other phases follow in the order
 * of their values. */
typedef enum darkroom_phase {
  DARKROOM_ENCODE_TEXT = 0,
  /* Computes the modulation vectors of all steps. */
  DARKROOM_MODULATE = 1,
  DARKROOM_DENOISE = 2,
  DARKROOM_DECODE = 3,
  DARKROOM_ENCODE_PICTURE = 4
} darkroom_phase;

/* How far a run is. Valid during the callback only. */
typedef struct darkroom_progress {
  size_t struct_size;
  darkroom_phase phase;
  /* 1 in the last event of a phase. */
  int finished;
  /* Which picture, counted from 0, and how many there are. */
  int picture, pictures;
  /* While denoising: finished passes of the transformer, and how many there are. Each step is one pass; with
   * the sampler heun each step except the last is two. */
  int step, steps;
  /* Finished transformer blocks in this step, for all prompts, and how many there are. */
  int block, blocks;
  /* Time since the phase began. */
  double phase_seconds;
  /* The largest resident set of the process during the run so far, and during the phase so far. It counts
   * all that the process does. It is exact if the process holds more than ever before; otherwise it is the
   * largest value that was seen at an event. On Linux a program can make it exact: it writes "5" to
   * /proc/self/clear_refs in the first event of each phase. */
  uint64_t peak_bytes;
  uint64_t phase_peak_bytes;
  /* What the plan says for the phase. */
  uint64_t planned_bytes;
  /* In the last event of modulate and of denoise: bytes of weights that were read, and how long the work
   * waited for them. */
  uint64_t bytes_read;
  double wait_seconds;
  /* From the last event of encode_text on: texts in the request, and how many of them the embedding cache
   * had. */
  int prompts, cached_prompts;
  /* In the last event of denoise: forward passes for all prompts, and how many of them the step cache
   * shortened. */
  int passes, skipped_passes;
} darkroom_progress;

/* A finished picture, or a sheet of pictures. Valid during the callback only. */
typedef struct darkroom_picture {
  size_t struct_size;
  /* Counted from 0; 0 for a sheet. */
  int index;
  int width, height;
  /* height * width * 3 bytes, row by row from the top. */
  const uint8_t* rgb;
  /* Of a sheet: the seed of its first picture. */
  uint64_t seed;
  /* JSON with everything that is needed to draw the picture again, except files: initial latents, the picture
   * to start from and its mask. */
  const char* recipe;
  /* The final packed latents, tokens * channels values; NULL for a sheet. */
  const float* latents;
  int64_t latent_tokens, latent_channels;
} darkroom_picture;

/* A rough picture of what a step predicts, one pixel for each latent, made without the VAE. Valid during the
 * callback only. */
typedef struct darkroom_preview {
  size_t struct_size;
  /* Counted from 0. */
  int picture;
  /* Which step, counted from 1, and how many there are. */
  int step, steps;
  /* With FLUX.1 an eighth of the picture's. */
  int width, height;
  /* height * width * 3 bytes, row by row from the top. */
  const uint8_t* rgb;
} darkroom_preview;

/* A callback that returns anything except 0 stops the run, which then returns DARKROOM_CANCELLED. */
typedef int (*darkroom_progress_fn)(const darkroom_progress* progress, void* user);
typedef int (*darkroom_picture_fn)(const darkroom_picture* picture, void* user);
typedef int (*darkroom_preview_fn)(const darkroom_preview* preview, void* user);
/* Gets what the user should know although the run goes on: a prompt was cut, an option has no effect. text is
 * one line, valid during the callback only. */
typedef void (*darkroom_note_fn)(const char* text, void* user);

/* What to draw. darkroom_request_init() sets every field to its default, so set only what you want otherwise.
 * "The model's own" is the value that darkroom_model_settings() gives, or else the value in brackets.
 *
 * True classifier-free guidance (cfg above 1) doubles the work. As in diffusers it needs a negative prompt,
 * which may be empty. If the model's own cfg is above 1 and there is no negative prompt, "" is taken. */
typedef struct darkroom_request {
  size_t struct_size;
  const char* prompt;
  /* NULL: none. Has an effect, even if it is "", when cfg is above 1. */
  const char* negative;
  /* The scale of true classifier-free guidance. 1 turns it off; 0: the model's own (1). */
  double cfg;
  /* The scale of distilled guidance. Below 0: the model's own (dev 3.5; schnell has none). */
  double guidance;
  /* In pixels, multiples of 16. 0: the model's own (1024). */
  int width, height;
  /* 0: the model's own (schnell 4, dev 28). */
  int steps;
  /* NULL, or sigma_count noise levels to use in place of steps: falling, each above 0 and at most 1. */
  const double* sigmas;
  int sigma_count;
  /* 0: the model's own (schnell 256, dev 512). */
  int max_text_tokens;
  /* 0: the seed is drawn, and seed below is not read. */
  int has_seed;
  uint64_t seed;
  /* How many pictures, with the seeds seed, seed + 1, and so on. */
  int count;
  /* NULL or "auto"; "f32", "bf16"; "int8", "int7": bf16, and the transformer's blocks multiply in 8 or 7 bits. */
  const char* precision;
  /* NULL or "auto": what is free; or an amount, "12GiB", "8G", "6000MiB". */
  const char* budget;
  /* NULL or "/var/tmp". A folder on a disk, for what does not fit into a small budget. */
  const char* scratch;
  /* Whose random numbers: NULL or "torch-cpu"; "torch-cuda", a GPU with a thread for every number;
   * "torch-cuda:28x1536" with the multiprocessors of a GPU and the threads of each, or "torch-cuda:rtx3060".
   */
  const char* rng;
  /* NULL, or a .safetensors file with the initial latents: tensor "latents", f32 [1, tokens, channels],
   * packed. */
  const char* noise_path;
  darkroom_progress_fn on_progress;
  darkroom_picture_fn on_picture;
  /* NULL, or gets all pictures as one contact sheet, after the last picture. See darkroom_generate(). */
  darkroom_picture_fn on_sheet;
  /* 0: as many as make the sheet nearly square. */
  int sheet_columns;
  darkroom_note_fn on_note;
  /* Passed to the callbacks. */
  void* user;
  /* What the transformer's matrices become as they are read, except the embedders'. NULL or "as-stored";
   * "auto"; "bf16", "fp8", "fp8-scaled", "int8" as in darkroom_conversion; GGUF's "q8_0", "q6_k", "q5_k",
   * "q4_k", "q4_0". With "fp8", matrices that are 8-bit floating-point already stay as they are. */
  const char* weights;
  /* NULL or "euler"; "heun", "dpm++2m", "ipndm", "euler-a". */
  const char* sampler;
  /* Of the noise levels, unless sigmas are given: NULL or "simple"; "beta", "karras". */
  const char* spacing;
  /* How guidance changes over the steps. It applies to true classifier-free guidance if that is on, otherwise
   * to distilled guidance. NULL or "constant"; "triangle", "cosine", "linear" have the same mean. Scales such
   * as "1,4.5,1", at equal distances with straight lines between them, replace the number in cfg or
   * guidance. */
  const char* guidance_schedule;
  /* Where guidance applies. NULL or "0,1"; a part of the steps, "0.1,0.8", or of the noise levels,
   * "sigma:0.3,0.9". Outside it true classifier-free guidance needs no second pass. */
  const char* guidance_interval;
  /* Lets steps that change little skip most of the transformer. NULL or "off"; "light", "balanced", "fast";
   * "teacache:0.4", "fbcache:0.12", "dbcache:...". See docs/CLI.md. */
  const char* cache;
  /* How true classifier-free guidance combines its two predictions. NULL or "plain"; "rescale[:0.7]",
   * "zero-star", "apg[:parallel[,momentum]]". */
  const char* cfg_method;
  /* Dynamic thresholding of the predicted clean latents under true classifier-free guidance. NULL or "off";
   * "[all:]PERCENTILE[,MIMIC]", such as "99.5". Each channel has its own threshold; with "all:" they share
   * one. */
  const char* threshold;
  /* NULL, or a PNG, JPEG or WebP file to start from. Noise is added to the picture, and only the last part of
   * the steps is taken. If width and height are 0 they are the picture's own, reduced if it is large. A
   * picture of another shape is cropped to its middle. */
  const char* init_path;
  /* NULL, or a PNG, JPEG or WebP file of the same shape. Only what is white in it is drawn. */
  const char* mask_path;
  /* The part of the steps to take with init_path, above 0 and at most 1. Below 0: 0.6. */
  double strength;
  /* NULL, or gets previews while a picture is denoised. They do not change the picture. If the model has no
   * map from latents to colours, there is a note and no preview. */
  darkroom_preview_fn on_preview;
  /* Steps from one preview to the next; 0: 1. The last step always has one. */
  int preview_every;
  /* NULL, or options as a JSON object such as {"steps": 20, "seed": 7}. They win over the fields above. Every
   * option has a name here, and new options have only that: darkroom_request_schema() lists them. */
  const char* settings;
} darkroom_request;

DARKROOM_API void darkroom_request_init_sized(darkroom_request* request, size_t struct_size);
static inline void darkroom_request_init(darkroom_request* request) {
  darkroom_request_init_sized(request, sizeof(darkroom_request));
}

/* The options of a request as a JSON Schema: the type, range, names, default and help of each. Fails only
 * without memory or without a place for the text. Free *text with darkroom_free(). */
DARKROOM_API darkroom_status darkroom_request_schema(char** text);

/* Settings that repeat a recipe: all that `settings` says (JSON as in the request; NULL: nothing), and where
 * it says nothing, what `recipe` says (the text of darkroom_read_recipe()). Files that a recipe names are
 * left out. Free *text with darkroom_free(). */
DARKROOM_API darkroom_status darkroom_with_recipe(darkroom_engine* engine, const char* settings,
                                                  const char* recipe, char** text);

/* Draws request->count pictures. on_picture gets each as soon as it is finished; after the last, on_sheet
 * gets a contact sheet of all, row by row in a grid with 8 grey pixels between them. A sheet of more than
 * 16384 pixels on a side, or of more than 2^26 pixels, is refused before anything is drawn. Pictures that
 * were handed over before an error or a cancel are complete. */
DARKROOM_API darkroom_status darkroom_generate(darkroom_engine* engine, darkroom_model* model,
                                               const darkroom_request* request);

/* Writes a picture as a PNG file, with its recipe as metadata if metadata is not 0. The file appears complete
 * or not at all. An existing file is an error, unless overwrite is not 0. Needs the fields struct_size to
 * rgb, and recipe if metadata is not 0; the rest may be absent or 0. */
DARKROOM_API darkroom_status darkroom_save_png(darkroom_engine* engine, const darkroom_picture* picture,
                                               const char* path, int metadata, int overwrite);
/* Writes the picture's latents into a .safetensors file, as tensor "latents", f32 [1, tokens, channels]. A
 * sheet, or a picture without latents, is DARKROOM_USAGE. */
DARKROOM_API darkroom_status darkroom_save_latents(darkroom_engine* engine, const darkroom_picture* picture,
                                                   const char* path, int overwrite);

/* ---- converting ---- */

/* How far a conversion is. Valid during the callback only. */
typedef struct darkroom_convert_progress {
  size_t struct_size;
  /* The folder of the part in work, such as "transformer". */
  const char* part;
  /* 1 in the last event of a part. */
  int finished;
  /* Files of this part, and the bytes of tensors in them when it is finished. */
  int files;
  uint64_t part_bytes;
  /* Bytes of tensors that were written, and how many there are in all parts. */
  uint64_t bytes_written, bytes_all;
  /* Time since the conversion began. */
  double seconds;
  /* The largest resident set of the process during the conversion so far, measured as in
   * darkroom_progress. */
  uint64_t peak_bytes;
} darkroom_convert_progress;

/* A callback that returns anything except 0 stops the conversion, which then returns DARKROOM_CANCELLED. */
typedef int (*darkroom_convert_progress_fn)(const darkroom_convert_progress* progress, void* user);

/* How to write a model again. The kinds of weights are "as-stored", "bf16", "f16", "fp8" (e4m3fn, without a
 * scale), "fp8-scaled" (one scale for each matrix), "int8" (one scale for each row), and for GGUF files "q8_0",
 * "q6_k", "q5_k", "q4_k", "q3_k", "q2_k", "q5_1", "q5_0", "q4_1", "q4_0". They apply to the matrices of linear
 * layers. Everything else (embeddings, norms, biases, the VAE) stays as it is stored. The scale of X.weight
 * is the tensor X.weight_scale, f32, [] or [rows]; the matrix means their product. */
typedef struct darkroom_conversion {
  size_t struct_size;
  /* The new folder or file, which must not exist. */
  const char* out;
  /* The transformer's kind. */
  const char* weights;
  /* The text encoders' kind; NULL: "bf16", or "as-stored" if `weights` is that. */
  const char* text_weights;
  /* The most bytes of tensors in one file of the layout "diffusers", such as "2GiB"; NULL: "5GB". */
  const char* shard_size;
  darkroom_convert_progress_fn on_progress;
  darkroom_note_fn on_note;
  /* Passed to the callbacks. */
  void* user;
  /* NULL or "diffusers": a folder with configs and tokenizers. "single": one .safetensors file, as ComfyUI reads
   * it. "gguf": a folder with GGUF files of the transformer and T5, and safetensors files of CLIP and the VAE. */
  const char* layout;
  /* NULL: all parts that the model has. Otherwise some of "transformer,clip,t5,vae". Of one part "single" and
   * "gguf" make a file with its names alone. */
  const char* parts;
  /* LoRAs that are added to the weights: NULL, or a JSON list as the setting "loras" of a request has it, such as
   * [{"path": "film.safetensors", "strength": 0.8}]. The weights keep their kind, or become `weights`. */
  const char* loras;
  /* NULL, or a file of smoothing factors (darkroom_calibrate()): the transformer's weights, which must become
   * "int8" in the layout "diffusers", are divided by them, and the factors lie beside them. */
  const char* smooth;
} darkroom_conversion;

DARKROOM_API void darkroom_conversion_init_sized(darkroom_conversion* conversion, size_t struct_size);
static inline void darkroom_conversion_init(darkroom_conversion* conversion) {
  darkroom_conversion_init_sized(conversion, sizeof(darkroom_conversion));
}

/* Writes the model again, in another layout or with other weights. What is written opens with
 * darkroom_open() and draws the same picture, as far as the weights are the same: files that have no configs
 * beside them carry the sizes, settings and unusual tokenizers in their metadata. A model of
 * darkroom_open_dummy() gets made-up tokenizers. The work needs about 100 MiB for a model of any size. The folder
 * or file appears at the end, complete, or not at all. A process that is killed leaves a folder .darkroom-* next to
 * it; the next conversion there says so in a note. */
DARKROOM_API darkroom_status darkroom_convert(darkroom_engine* engine, darkroom_model* model,
                                              const darkroom_conversion* conversion);

/* ---- calibrating ---- */

/* How to find smoothing factors, with which a model keeps more digits when its blocks multiply in 8 bits
 * (precision "int8", setting "smooth"). */
typedef struct darkroom_calibration {
  size_t struct_size;
  /* What the pictures are drawn with, which show how large the model's values get: size, steps, budget, the first
   * seed and so on. Its prompt does not count. Of its callbacks on_progress and on_note are called; `picture` and
   * `pictures` count the prompts. */
  const darkroom_request* request;
  /* The file, *.safetensors. It is written after each picture; one of the same model and settings is gone on with,
   * any other is DARKROOM_OUTPUT. */
  const char* out;
  /* A JSON list of texts, one for each picture; NULL: some of the model's own, or general ones. */
  const char* prompts;
  /* NULL or "rms": factors from root mean squares. "smoothquant": from the largest values of all steps (arXiv
   * 2211.10438). "ptq4dit": the same, the steps weighted by how little their salient channels are the weights'
   * (arXiv 2405.16005). "weights": nothing is drawn; root mean squares that follow from the weights. */
  const char* method;
  /* Above 0 to 1: how much of the salience moves from the values into the weights; 0: 0.5. */
  double alpha;
} darkroom_calibration;

DARKROOM_API void darkroom_calibration_init_sized(darkroom_calibration* calibration, size_t struct_size);
static inline void darkroom_calibration_init(darkroom_calibration* calibration) {
  darkroom_calibration_init_sized(calibration, sizeof(darkroom_calibration));
}

DARKROOM_API darkroom_status darkroom_calibrate(darkroom_engine* engine, darkroom_model* model,
                                                const darkroom_calibration* calibration);

/* ---- questions ----
 *
 * Each call returns JSON in *text. Free it with darkroom_free(). On failure *text is not changed. */

/* Says what a path holds: a model folder, a .safetensors file, or a picture with its recipe. */
DARKROOM_API darkroom_status darkroom_info(darkroom_engine* engine, const char* path, char** text);
/* Says what a request would cost, phase by phase: bytes of weights and activations, peak, FLOPs. Loads no
 * weights. Does not look at darkroom_cancel(). */
DARKROOM_API darkroom_status darkroom_plan(darkroom_engine* engine, darkroom_model* model,
                                           const darkroom_request* request, char** text);
/* Returns {"clip": [ids], "t5": [ids]}, as the model would see the prompt. max_text_tokens 0: the model's
 * own. */
DARKROOM_API darkroom_status darkroom_tokenize(darkroom_engine* engine, darkroom_model* model,
                                               const char* prompt, int max_text_tokens, char** text);
/* Returns the recipe in a picture's metadata: darkroom's own, or what can be read of another program's. */
DARKROOM_API darkroom_status darkroom_read_recipe(darkroom_engine* engine, const char* path, char** text);
/* Returns {"name", "backend", "supported": [...]}: the processor, this engine's backend, and the instruction
 * sets that darkroom_options.isa accepts. */
DARKROOM_API darkroom_status darkroom_describe_cpu(darkroom_engine* engine, char** text);
/* Returns {"devices": [{"name", "driver", "kind", "class", "reason", "memory_bytes", "free_bytes"}, ...],
 * "reason"}: what has a Vulkan driver. kind is "discrete", "integrated", "virtual", "cpu" or "other"; class is
 * "unusable" or what kernels the device runs, and reason why not more. The last is why there are none. */
DARKROOM_API darkroom_status darkroom_describe_devices(darkroom_engine* engine, char** text);

typedef struct darkroom_bench_options {
  size_t struct_size;
  /* Not 0: within 40 s, without the time for the steps within a budget. */
  int quick;
  /* NULL: none. Otherwise an amount as in a request: steps of the transformer are measured within it too. */
  const char* budget;
  /* Whose steps those are. NULL: blocks of full width with weights from a formula. */
  darkroom_model* model;
  /* NULL: none. Otherwise "f32", "f16", "bf16", "f8_e4m3", "f8_e5m2", "i8", or a block type such as "q4_k" or
   * "nf4": only linear layers are measured, with such weights beside bf16. */
  const char* weights;
} darkroom_bench_options;

DARKROOM_API void darkroom_bench_options_init_sized(darkroom_bench_options* options, size_t struct_size);
static inline void darkroom_bench_options_init(darkroom_bench_options* options) {
  darkroom_bench_options_init_sized(options, sizeof(darkroom_bench_options));
}

/* Measures this machine: its ceilings, then the ops with FLUX.1's shapes as fractions of them. options may be
 * NULL. */
DARKROOM_API darkroom_status darkroom_bench(darkroom_engine* engine, const darkroom_bench_options* options,
                                            char** text);

/* How far a self-test is. Valid during the callback only. */
typedef struct darkroom_self_test_progress {
  size_t struct_size;
  /* Whose case is next. */
  const char* op;
  /* Cases that are behind, and how many there are. */
  int finished, cases;
} darkroom_self_test_progress;

/* Returns anything except 0 to stop the test, which then returns DARKROOM_CANCELLED. */
typedef int (*darkroom_self_test_progress_fn)(const darkroom_self_test_progress* progress, void* user);

typedef struct darkroom_self_test_options {
  size_t struct_size;
  /* What is tested. NULL: where the engine draws. Otherwise as darkroom_options.backend; a device that
   * darkroom_create() refuses because of wrong results can be tested so, by an engine of the cpu. */
  const char* device;
  /* Not 0: of most storages of weights only one case in four. */
  int quick;
  darkroom_self_test_progress_fn on_progress;
  void* user;
} darkroom_self_test_options;

DARKROOM_API void darkroom_self_test_options_init_sized(darkroom_self_test_options* options,
                                                        size_t struct_size);
static inline void darkroom_self_test_options_init(darkroom_self_test_options* options) {
  darkroom_self_test_options_init_sized(options, sizeof(darkroom_self_test_options));
}

/* Computes every op on small inputs, in every storage of weights, and compares with the reference:
 *   {"device", "driver", "class", "backend", "cases", "failed", "left_out", "seconds", "stopped",
 *    "ops": [{"op", "cases", "worst", "seconds", "failed": [{"case", "error"}, ...],
 *             "left_out": [{"reason", "cases"}, ...]}, ...]}
 * worst is the largest error as a fraction of what is allowed: above 1 a result is wrong, 1e30 stands for what is no
 * number. Cases that the device does not do are left out, and not among "cases". stopped says why the rest was not
 * tried, "" if all was. Wrong results are no error of the call: look at "failed". options may be NULL. Free *text with
 * darkroom_free(). */
DARKROOM_API darkroom_status darkroom_self_test(darkroom_engine* engine,
                                                const darkroom_self_test_options* options, char** text);

#ifdef __cplusplus
}
#endif

#endif /* DARKROOM_DARKROOM_H_ */
