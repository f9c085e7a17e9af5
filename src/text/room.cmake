darkroom_room(text
  SOURCES unicode.cc unicode_tables.cc piece_trie.cc added_tokens.cc token_settings.cc byte_pair.cc clip_tokenizer.cc
          base64.cc charsmap.cc unigram.cc t5_pieces.cc t5_tokenizer.cc built_in.cc tokenizer_files.cc
  DEPS base LIBS ZLIB::ZLIB)

# The vocabularies are part of the library, so that a program is one file.
foreach(data "kClipMerges clip_merges" "kT5Pieces t5_pieces")
  separate_arguments(data)
  list(GET data 0 name)
  list(GET data 1 stem)
  set(packed ${PROJECT_SOURCE_DIR}/assets/tokenizers/${stem}.z)
  set(embedded ${CMAKE_BINARY_DIR}/${stem}.cc)
  add_custom_command(OUTPUT ${embedded}
    COMMAND ${CMAKE_COMMAND} -DFILE=${packed} -DNAME=${name} -DHEADER=text/built_in.h -DOUTPUT=${embedded}
            -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${packed} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake VERBATIM)
  target_sources(darkroom_text PRIVATE ${embedded})
endforeach()
