# cmake -DSOURCE=src -DCOMPILER=... -DOUTPUT=code_digest.cc -P code_digest.cmake: writes the file that defines
# kCodeDigest (src/pipeline/code_digest.h).
file(GLOB_RECURSE sources "${SOURCE}/*.h" "${SOURCE}/*.cc" "${SOURCE}/*.comp" "${SOURCE}/*.glsl")
list(SORT sources)
set(digests "${COMPILER}")
foreach(source IN LISTS sources)
  file(SHA256 "${source}" digest)
  file(RELATIVE_PATH name "${SOURCE}" "${source}")
  string(APPEND digests "\n${name} ${digest}")
endforeach()
string(SHA256 digest "${digests}")
file(WRITE "${OUTPUT}" "#include \"pipeline/code_digest.h\"

const char* const darkroom::kCodeDigest = \"${digest}\";
")
