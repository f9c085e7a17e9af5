darkroom_room(text
  SOURCES unicode.cc unicode_tables.cc piece_trie.cc added_tokens.cc token_settings.cc byte_pair.cc clip_tokenizer.cc
          base64.cc charsmap.cc unigram.cc t5_tokenizer.cc
  DEPS base)
