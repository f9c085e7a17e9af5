darkroom_test(text_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/unicode_test.cc ${CMAKE_CURRENT_LIST_DIR}/charsmap_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/unigram_test.cc ${CMAKE_CURRENT_LIST_DIR}/added_tokens_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/tokenizer_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/reference_test.cc
  DEPS text)
