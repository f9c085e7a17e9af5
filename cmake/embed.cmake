# cmake -DFILE=.. -DNAME=kData -DHEADER=room/file.h -DOUTPUT=FILE.cc -P embed.cmake: writes the file that defines
# darkroom::NAME, a std::string_view that HEADER declares, with the bytes of FILE.
file(READ "${FILE}" hex HEX)
# A string literal, because an array of so many numbers takes seconds to compile. A line has 32 bytes.
string(REGEX REPLACE "(..)" "\\\\x\\1" bytes "${hex}")
string(REPEAT "." 128 line)
string(REGEX REPLACE "(${line})" "\\1\"\n    \"" bytes "${bytes}")
file(WRITE "${OUTPUT}" "#include \"${HEADER}\"

static const char bytes[] =
    \"${bytes}\";
const std::string_view darkroom::${NAME}(bytes, sizeof(bytes) - 1);
")
