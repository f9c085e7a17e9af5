#!/bin/sh
# fuzz/run.sh BUILD SECONDS: runs every target that was built for so long, starting from fuzz/broken, fuzz/seeds and the
# fixtures.
# What is found is kept in BUILD/corpus/NAME, so the next run goes on from there; a crash leaves its input in
# BUILD/crash-NAME-* and ends the run.
set -eu
fuzz=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
seconds=$2
fixtures=$fuzz/../tests/fixtures

# Copies the fixtures that look like a target's input; more in one file would only be slower to mutate.
seed() { # FOLDER PATTERN
  find "$fixtures" -type f -name "$2" -size -200k | while read -r file; do
    cp "$file" "$1/seed-$(echo "${file#"$fixtures"/}" | tr / -)"
  done
}

# Stacks of allocations and long quarantines take most of the time otherwise; a found input is run again without these.
export ASAN_OPTIONS="malloc_context_size=0:quarantine_size_mb=16:${ASAN_OPTIONS-}"

# What a target starts from besides fuzz/broken.
seed_corpus() { # NAME FOLDER
  case $1 in
    safetensors | scales) seed "$2" '*.safetensors' ;;
    png) # the first byte picks the reader
      for reader in 001 005; do
        for file in "$fuzz"/broken/png/*; do
          { printf "\\$reader" && cat "$file"; } >"$2/seed-$reader-${file##*/}"
        done
      done
      printf '\002a cat\nNegative prompt: b\nSteps: 4, CFG scale: 1, Seed: 7, Size: 64x32, Model: m' >"$2/seed-line"
      printf '\003{"format":1,"prompt":"a cat","seed":7,"steps":4,"width":64,"height":32,"sigmas":[1,0.5]}' \
        >"$2/seed-json"
      ;;
    recipe) # the first byte picks the key of the text
      printf '\000a <lora:film:0.8>\nSteps: 4, Sampler: DPM++ 2M Karras, Seed: 7, Size: 64x32, CFG scale: None, Clip skip: 2' \
        >"$2/seed-line"
      printf '\000{"sui_image_params":{"prompt":"a","seed":7,"steps":"4","loras":["l"],"loraweights":["1"]}}' >"$2/seed-swarmui"
      printf '\000{"prompt":"a","resolution":"(64, 32)","seed":"7","lora_combined_1":"l : 0.5"}' >"$2/seed-fooocus"
      printf '\001{"positive_prompt":"a","scheduler":"euler_k","model":{"name":"m"},"loras":[{"model":{"name":"l"},"weight":1}]}' \
        >"$2/seed-invokeai"
      printf '\002{"app_id":"i","image":{"prompt":[{"prompt":"a"}],"sampler":"k_euler_a"}}' >"$2/seed-invokeai-old"
      printf '\003{"1":{"class_type":"SaveImage","inputs":{"images":["2",0]}},"2":{"class_type":"KSampler","inputs":{"seed":7,' \
        >"$2/seed-comfyui"
      printf '"steps":4,"cfg":1,"positive":["3",0],"latent_image":["4",0],"x":NaN}},"3":{"class_type":"C","inputs":{"text":"a"}}}' \
        >>"$2/seed-comfyui"
      printf '\004{"steps":28,"sampler":"k_euler","uc":"b","seed":7,"prompt":"a"}' >"$2/seed-novelai"
      printf '\005"a cat" -s50 -S 123 -W512 -C7.5 -A k_lms' >"$2/seed-dream"
      printf '\006{"mflux_version":"1","prompt":"a","lora_paths":["l"],"lora_scales":[1]}' >"$2/seed-mflux"
      printf '\007<exif:UserComment><rdf:li x="">{&quot;c&quot;:1,"uc":"b","steps":4}</rdf:li></exif:UserComment>' \
        >"$2/seed-draw-things"
      ;;
    steering)
      for text in constant triangle cosine linear 1,4.5,1 0.1,0.8 sigma:0.3,0.9 rescale:0.7 zero-star apg:0.1,-0.5 \
        99.5 all:95,2 heun dpm++2m ipndm euler-a beta karras \
        light teacache:0.4,poly=none fbcache:0.12,order=2,skips=2 dbcache:0.1,front=8,back=4,warmup=0.1; do
        printf '%s' "$text" >"$2/seed-$text"
      done
      printf '# low, high\n1\t4.5\r\n' >"$2/seed-file"
      ;;
    t5_tokenizer)
      printf '=== tokens\n<pad> 0 3\n</s> 0 3\n<unk> 0 2\n\342\226\201 -2 1\n\342\226\201a -3 1\nx 0 5\n%s' \
        '=== unused' >"$2/seed-tokens"
      printf '\nd\n=== ids\n1 2 0\n=== prompt\na <extra_id_9> b' >>"$2/seed-tokens"
      ;;
    config)
      seed "$2" '*config.json' && seed "$2" '*.index.json'
      printf '{"width":128,"height":64,"steps":20,"cfg":2.0,"guidance":3.0,"max_text_tokens":24,"prompts":{"about":"a b",%s%s' \
        '"grammar":["a WORD"],"words":["a","left of"],"examples":["a"]},' \
        '"preview":{"rgb":[[0.5,-1,2],[1e-3,0,1]],"bias":[0,0,-0.5]}}' >"$2/seed-settings"
      ;;
  esac
}

# Runs one target; its log lies in BUILD/fuzz-NAME.log.
run_target() { # TARGET
  name=${1##*/fuzz_}
  corpus=$build/corpus/$name
  mkdir -p "$corpus"
  seed_corpus "$name" "$corpus"
  folders=
  for kind in broken seeds; do
    [ -d "$fuzz/$kind/$name" ] && folders="$folders $fuzz/$kind/$name"
  done
  log=$build/fuzz-$name.log
  if ! nice "$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=2048 -print_final_stats=1 \
    -artifact_prefix="$build/crash-$name-" "$corpus" $folders 2>"$log"; then
    tail -n 60 "$log"
    return 1
  fi
  echo "== $name, $seconds s: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs, $(
    sed -n 's/^stat::average_exec_per_sec: *//p' "$log") a second"
}

# Two at a time.
status=0 waiting=
for target in "$build"/fuzz/fuzz_*; do
  [ -f "$target" ] && [ -x "$target" ] || continue
  run_target "$target" &
  if [ -n "$waiting" ]; then
    wait "$waiting" || status=1
    waiting=$!
  else
    waiting=$!
  fi
done
[ -z "$waiting" ] || wait "$waiting" || status=1
exit $status
