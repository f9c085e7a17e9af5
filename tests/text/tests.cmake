darkroom_test(text_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/unicode_test.cc ${CMAKE_CURRENT_LIST_DIR}/charsmap_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/unigram_test.cc ${CMAKE_CURRENT_LIST_DIR}/added_tokens_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/tokenizer_test.cc ${CMAKE_CURRENT_LIST_DIR}/built_in_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/reference_test.cc ${CMAKE_CURRENT_LIST_DIR}/tokenizer_files_test.cc
  DEPS text LABELS sanitize)
# The five files that tools/unicode/make_tables.py reads; where they are not, the tables are not compared.
set(DARKROOM_UCD "" CACHE PATH "Folder with files of the Unicode Character Database")
add_test(NAME unicode_tables COMMAND ${CMAKE_CURRENT_LIST_DIR}/check_unicode_tables.sh ${PROJECT_SOURCE_DIR} "${DARKROOM_UCD}")
set_tests_properties(unicode_tables PROPERTIES SKIP_RETURN_CODE 77)
add_test(NAME text_built_in_data COMMAND ${CMAKE_CURRENT_LIST_DIR}/check_built_in.sh ${PROJECT_SOURCE_DIR})
set_tests_properties(text_built_in_data PROPERTIES SKIP_RETURN_CODE 77)
