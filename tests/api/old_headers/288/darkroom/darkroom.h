/* darkroom: FLUX.1 pictures from text. The public C API, and the only header that programs include.
 *
 * A darkroom_engine* engine owns threads and a backend; a darkroom_model* is an opened model. Every call that
 * can fail returns a darkroom_status; darkroom_last_error(engine) then says what, where, the numbers and what
 * to do, in one line. Structs start with their size, so fields can be added without breaking callers: fill
 * them with the *_init functions. Strings are UTF-8. Strings and structs passed in are copied or only used
 * during the call; what is handed out says how long it lives. Threads: one call at a time per engine, except
 * darkroom_cancel(), which any thread and any signal handler may call. */
#ifndef DARKROOM_DARKROOM_H_
#define DARKROOM_DARKROOM_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DARKROOM_API __attribute__((visibility("default")))
#else
#define DARKROOM_API
#endif

/* The values are the exit codes of the command line. */
typedef enum darkroom_status {
  DARKROOM_OK = 0,
  DARKROOM_FAILURE = 1,       /* anything that has no code of its own */
  DARKROOM_USAGE = 2,         /* the request is wrong */
  DARKROOM_MODEL = 3,         /* a model file is missing or invalid */
  DARKROOM_OUT_OF_MEMORY = 4, /* the work does not fit */
  DARKROOM_OUTPUT = 5,        /* a result could not be written */
  DARKROOM_CANCELLED = 130    /* stopped on request */
} darkroom_status;

typedef struct darkroom_engine darkroom_engine;
typedef struct darkroom_model darkroom_model;

/* "0.1.0"; static. */
DARKROOM_API const char* darkroom_version(void);

/* ---- the engine ---- */

typedef struct darkroom_options {
  size_t struct_size;
  int threads;         /* 0: one per processor that this process may use */
  const char* backend; /* NULL or "cpu"; "reference" is the slow oracle */
  const char* isa;     /* NULL or "auto"; otherwise forces an instruction set, see darkroom_describe_cpu() */
  const char* embed_cache; /* NULL: none; the folder of prompts' embeddings, under digests of the prompts */
  const char* embed_cache_size; /* NULL: "256MiB"; what is used the longest ago goes when there is more */
} darkroom_options;

DARKROOM_API void darkroom_options_init(darkroom_options* options);

/* Makes an engine. options may be NULL. Also on failure *engine is set (NULL only without memory), so that
 * its error can be read; destroy it in either case. */
DARKROOM_API darkroom_status darkroom_create(const darkroom_options* options, darkroom_engine** engine);
DARKROOM_API void darkroom_destroy(darkroom_engine* engine);

/* The error of the last failed call on this engine, "" if there was none. Valid until the next call on the
 * engine. */
DARKROOM_API const char* darkroom_last_error(const darkroom_engine* engine);

/* Makes the call in progress on this engine return DARKROOM_CANCELLED within one block of the model. Without
 * a call in progress it does nothing. Async-signal-safe. */
DARKROOM_API void darkroom_cancel(darkroom_engine* engine);

/* Frees a string that a call below returned through a char**. NULL is allowed. */
DARKROOM_API void darkroom_free(char* text);

/* ---- models ---- */

/* Opens a folder in diffusers layout. Reads configs and what heads the weight files; tokenizers and weights
 * when needed. The engine must outlive the model. */
DARKROOM_API darkroom_status darkroom_open(darkroom_engine* engine, const char* path, darkroom_model** model);
/* A model whose weights come from a formula, no file needed: "tiny", "dev" or "schnell" (the true sizes). */
DARKROOM_API darkroom_status darkroom_open_dummy(darkroom_engine* engine, const char* name,
                                                 darkroom_model** model);
DARKROOM_API void darkroom_close(darkroom_model* model);
/* What a recipe calls the model: the folder's own name, "pinhole-dev" for the folder dev inside the model
 * pinhole, or "dummy-dev". Never a path. Lives as long as the model. */
DARKROOM_API const char* darkroom_model_name(const darkroom_model* model);
/* What the model's folder recommends and which prompts it understands, from its optional darkroom.json:
 * {"width", "height", "steps", "cfg", "guidance", "max_text_tokens",
 *  "prompts": {"about": "one line", "grammar": [...], "words": [...], "examples": [...]},
 *  "preview": {"rgb": [[r, g, b] of each latent channel], "bias": [r, g, b]}}.
 * What the file does not state is absent; {} without a file. The numbers are the "model's own" values of a
 * request. Where there are words, a prompt with others gets a note. *text is to be freed with
 * darkroom_free(). */
DARKROOM_API darkroom_status darkroom_model_settings(darkroom_engine* engine, darkroom_model* model,
                                                     char** text);

/* ---- drawing ---- */

typedef enum darkroom_phase {
  DARKROOM_ENCODE_TEXT = 0,
  DARKROOM_MODULATE = 1, /* the modulation vectors of all steps */
  DARKROOM_DENOISE = 2,
  DARKROOM_DECODE = 3,
  DARKROOM_ENCODE_PICTURE = 4 /* comes first, in runs that start from a picture */
} darkroom_phase;

/* Where a run is. Valid during the callback only. */
typedef struct darkroom_progress {
  size_t struct_size;
  darkroom_phase phase;
  int finished;                /* 1 in the last event of a phase */
  int picture, pictures;       /* which picture, counted from 0 */
  int step, steps;             /* denoising: passes of the transformer finished, of how many: one a step, but
                                  with the sampler heun two in all but the last */
  int block, blocks;           /* transformer blocks finished in this step, for all prompts */
  double phase_seconds;        /* since the phase began */
  uint64_t peak_bytes;         /* largest resident set of the process during the run so far */
  uint64_t phase_peak_bytes;   /* and during the phase so far */
  uint64_t planned_bytes;      /* what the plan says of the phase */
  uint64_t bytes_read;         /* in the last event of modulate and denoise: of weights, */
  double wait_seconds;         /* and how long the work waited for them */
  int prompts, cached_prompts; /* texts of the request, and those that the embedding cache had; from the last
                                  event of encode_text on */
  int passes, skipped_passes;  /* in the last event of denoise: forward passes under all prompts, and those in
                                  which the step cache left blocks out */
} darkroom_progress;

/* A finished picture, or a sheet of pictures. Valid during the callback only. */
typedef struct darkroom_picture {
  size_t struct_size;
  int index; /* counted from 0; 0 for a sheet */
  int width, height;
  const uint8_t* rgb; /* height * width * 3 bytes */
  uint64_t seed;      /* of a sheet's first picture */
  const char* recipe; /* JSON: everything needed to draw it again, except files: initial latents, a picture to
                       * start from and its mask */
  const float* latents; /* the final packed latents, tokens * channels values; NULL for a sheet */
  int64_t latent_tokens, latent_channels;
} darkroom_picture;

/* A rough picture of what a step predicts, one pixel for each of the latents, without the VAE. Valid during
 * the callback only. */
typedef struct darkroom_preview {
  size_t struct_size;
  int picture;        /* counted from 0 */
  int step, steps;    /* step of steps, counted from 1 */
  int width, height;  /* of a FLUX.1 an eighth of the picture's */
  const uint8_t* rgb; /* height * width * 3 bytes */
} darkroom_preview;

/* Returning anything but 0 stops the run with DARKROOM_CANCELLED. */
typedef int (*darkroom_progress_fn)(const darkroom_progress* progress, void* user);
typedef int (*darkroom_picture_fn)(const darkroom_picture* picture, void* user);
typedef int (*darkroom_preview_fn)(const darkroom_preview* preview, void* user);
/* Something the user should know although the run goes on: a prompt cut short, an option without effect. */
typedef void (*darkroom_note_fn)(const char* text, void* user);

/* What to draw. darkroom_request_init() sets every "model's own" value, so set only what you want otherwise.
 * A model's own are those that darkroom_model_settings() gives, else the ones in brackets.
 *
 * True classifier-free guidance (cfg above 1) doubles the work and, as in diffusers, needs a negative prompt,
 * if an empty one. For a model whose own cfg is above 1 the negative prompt is "" when none is given. */
typedef struct darkroom_request {
  size_t struct_size;
  const char* prompt;
  const char* negative; /* NULL: none. Takes part, even when "", if cfg > 1 */
  double cfg;           /* true classifier-free guidance; 1 = off; 0: the model's own (1) */
  double guidance;      /* distilled guidance; < 0: the model's own (dev 3.5; schnell has none) */
  int width, height;    /* pixels, multiples of 16; 0: the model's own (1024) */
  int steps;            /* 0: the model's own (schnell 4, dev 28) */
  const double* sigmas; /* NULL, or the noise levels to use, falling, each in (0, 1]; replaces steps */
  int sigma_count;
  int max_text_tokens; /* 0: the model's own (schnell 256, dev 512) */
  int has_seed;        /* 0: one is drawn */
  uint64_t seed;
  int count;             /* pictures, with seeds seed, seed + 1, ... */
  const char* precision; /* NULL or "auto"; "f32", "bf16" */
  const char* budget;    /* NULL or "auto": what is free; or an amount such as "12GiB", "8G", "6000MiB" */
  const char*
      scratch;     /* NULL or "/var/tmp"; a folder on a disk, where a small budget keeps what does not fit */
  const char* rng; /* NULL or "torch-cpu"; "torch-cuda" */
  const char* noise_path; /* NULL, or a .safetensors file with "latents" f32 [1, tokens, channels], packed */
  darkroom_progress_fn on_progress;
  darkroom_picture_fn on_picture;
  darkroom_picture_fn on_sheet; /* NULL, or gets all pictures as one, see below */
  int sheet_columns;            /* 0: those that make the sheet nearly square */
  darkroom_note_fn on_note;
  void* user; /* handed to the callbacks */
  const char*
      weights;         /* NULL or "as-stored"; "auto"; "bf16", "fp8", "fp8-scaled", "int8", as in
                        * darkroom_conversion: what the transformer's matrices, but for the embedders', are
                        * turned into as they are read; what is 8-bit floating-point already stays so for fp8 */
  const char* sampler; /* NULL or "euler"; "heun", "dpm++2m", "ipndm", "euler-a" */
  const char* spacing; /* of the noise levels, unless sigmas are given: NULL or "simple"; "beta", "karras" */
  /* Guidance over the steps: of true CFG where it runs, else of the distilled guidance. */
  const char* guidance_schedule; /* NULL or "constant"; "triangle", "cosine", "linear", all with the same
                                  * mean; or scales at even distances, "1,4.5,1", straight lines between: they
                                  * take the place of the number in cfg or guidance */
  const char* guidance_interval; /* NULL or "0,1"; the guided part of the steps, "0.1,0.8", or of the noise
                                  * levels, "sigma:0.3,0.9"; outside it true CFG takes no second pass */
  const char*
      cache; /* NULL or "off"; "light", "balanced", "fast", or "teacache:0.4", "fbcache:0.12", "dbcache:...":
              * steps that change little leave out most of the transformer; see docs/CLI.md */
  /* Of true CFG: how the two answers become one. */
  const char* cfg_method; /* NULL or "plain"; "rescale[:0.7]", "zero-star", "apg[:parallel[,momentum]]" */
  const char* threshold;  /* NULL or "off"; "[all:]PERCENTILE[,MIMIC]", as "99.5": dynamic thresholding of the
                           * predicted clean latents, by channel or all: at once */
  const char* init_path;  /* NULL, or a PNG to start from: the last part of the steps is taken, from the
                           * picture under noise. Width and height are then the picture's own unless given
                           * (less for one that is large); of another shape its middle is taken */
  const char* mask_path;  /* NULL, or a PNG of the same shape: only what is white in it is drawn anew */
  double strength;        /* the part of the steps, above 0 to 1; < 0: 0.6 */
  darkroom_preview_fn on_preview; /* NULL, or gets previews of the picture while it is denoised; they change
                                   * no byte of it. A note where the model has no map from latents to RGB */
  int preview_every;              /* steps between previews; 0: 1. The last step always has one */
} darkroom_request;

DARKROOM_API void darkroom_request_init(darkroom_request* request);

/* Draws request->count pictures; each goes to on_picture as soon as it is finished. Behind the last, on_sheet
 * gets a contact sheet: the pictures row by row in a grid, with 8 grey pixels between them. A sheet of more
 * than 16384 pixels a side or 2^26 in all is refused before anything is drawn. */
DARKROOM_API darkroom_status darkroom_generate(darkroom_engine* engine, darkroom_model* model,
                                               const darkroom_request* request);

/* Writes a picture as PNG, with its recipe in the metadata if metadata is not 0. The file appears whole or
 * not at all; an existing file is an error unless overwrite is not 0. */
DARKROOM_API darkroom_status darkroom_save_png(darkroom_engine* engine, const darkroom_picture* picture,
                                               const char* path, int metadata, int overwrite);
/* Writes the picture's latents as tensor "latents", f32 [1, tokens, channels], into a .safetensors file. A
 * sheet has none (DARKROOM_USAGE). */
DARKROOM_API darkroom_status darkroom_save_latents(darkroom_engine* engine, const darkroom_picture* picture,
                                                   const char* path, int overwrite);

/* ---- converting ---- */

/* Where a conversion is. Valid during the callback only. */
typedef struct darkroom_convert_progress {
  size_t struct_size;
  const char* part;                  /* the folder of the part in work, "transformer" */
  int finished;                      /* 1 in the last event of a part */
  int files;                         /* of this part, */
  uint64_t part_bytes;               /* and how many bytes of tensors they hold in the end */
  uint64_t bytes_written, bytes_all; /* of tensors, in all parts */
  double seconds;                    /* since the conversion began */
  uint64_t peak_bytes;               /* largest resident set of the process during it so far */
} darkroom_convert_progress;

/* Returning anything but 0 stops the conversion with DARKROOM_CANCELLED. */
typedef int (*darkroom_convert_progress_fn)(const darkroom_convert_progress* progress, void* user);

/* The kinds of weights: "bf16"; "fp8" (e4m3fn) without a scale; "fp8-scaled" with one scale for each matrix;
 * "int8" with one for each of its rows. They are the kinds of the linear layers' matrices; everything else
 * (embeddings, norms, biases, the VAE) stays as it is stored. The scale of X.weight is X.weight_scale, f32,
 * [] or [rows]; what the matrix means is the product. */
typedef struct darkroom_conversion {
  size_t struct_size;
  const char* out;          /* the new folder, which must not exist */
  const char* weights;      /* the transformer's kind */
  const char* text_weights; /* NULL or "bf16"; that of the text encoders */
  const char* shard_size;   /* NULL: "5GB"; most bytes of tensors in a file, such as "2GiB" */
  darkroom_convert_progress_fn on_progress;
  darkroom_note_fn on_note;
  void* user; /* handed to the callbacks */
} darkroom_conversion;

DARKROOM_API void darkroom_conversion_init(darkroom_conversion* conversion);

/* Writes the model again, in diffusers layout, with its configs and tokenizers. Needs some 100 MiB whatever
 * its size (of a model of darkroom_open_dummy() its largest tensor besides). The folder appears in the end,
 * whole, or not at all; a process that is killed leaves a folder .darkroom-* beside it, of which the next
 * conversion there tells in a note. A model of darkroom_open_dummy() gets made-up tokenizers. */
DARKROOM_API darkroom_status darkroom_convert(darkroom_engine* engine, darkroom_model* model,
                                              const darkroom_conversion* conversion);

/* ---- looking; each returns JSON in *text, to be freed with darkroom_free() ---- */

/* What a path holds: a model folder, a .safetensors file, or a picture with its recipe. */
DARKROOM_API darkroom_status darkroom_info(darkroom_engine* engine, const char* path, char** text);
/* What a request would cost, phase by phase: bytes of weights and activations, peak, FLOPs. Loads nothing. */
DARKROOM_API darkroom_status darkroom_plan(darkroom_engine* engine, darkroom_model* model,
                                           const darkroom_request* request, char** text);
/* {"clip": [ids], "t5": [ids]} as the model would see them; max_text_tokens 0: the model's own. */
DARKROOM_API darkroom_status darkroom_tokenize(darkroom_engine* engine, darkroom_model* model,
                                               const char* prompt, int max_text_tokens, char** text);
/* The recipe in a picture's metadata, darkroom's own or the A1111 text. */
DARKROOM_API darkroom_status darkroom_read_recipe(darkroom_engine* engine, const char* path, char** text);
/* {"name", "backend", "supported": [...]}: the processor, this engine's backend, the instruction sets that
 * can be forced. */
DARKROOM_API darkroom_status darkroom_describe_cpu(darkroom_engine* engine, char** text);

typedef struct darkroom_bench_options {
  size_t struct_size;
  int quick;             /* not 0: within 40 s, a step under a budget aside */
  const char* budget;    /* NULL: none; else as in a request: also runs steps of the transformer within it */
  darkroom_model* model; /* whose steps those are; NULL: full-width blocks with weights from a formula */
} darkroom_bench_options;

DARKROOM_API void darkroom_bench_options_init(darkroom_bench_options* options);

/* Measures this machine: ceilings first, then ops on FLUX's shapes as fractions of them. options may be NULL.
 */
DARKROOM_API darkroom_status darkroom_bench(darkroom_engine* engine, const darkroom_bench_options* options,
                                            char** text);

#ifdef __cplusplus
}
#endif

#endif /* DARKROOM_DARKROOM_H_ */
