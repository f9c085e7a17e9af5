// Tokens that are cut out of a prompt before the model sees it, such as </s> or <|endoftext|>. Not the
// model's vocabulary. Follows the added vocabulary of Hugging Face tokenizers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/piece_trie.h"

namespace darkroom {

struct AddedToken {
  std::string content;  // valid UTF-8, not empty
  int32_t id = -1;
  bool single_word = false;  // only where no letter, digit or mark touches it
  bool lstrip = false;       // swallows the white space before it
  bool rstrip = false;       // and after it
  bool normalized = false;   // is looked for in the normalised text, in its own normalised form
  bool operator==(const AddedToken&) const = default;
};

// Finds the tokens of one list in a text. Immutable; reading is thread-safe.
class AddedTokenFinder {
 public:
  struct Piece {
    std::string_view text;  // of the text that was given
    int32_t id;             // -1: ordinary text
  };

  AddedTokenFinder() = default;
  // Errors: kModel with `where` when a content is empty or longer than 1024 bytes, or two are the same.
  AddedTokenFinder(std::vector<AddedToken> tokens, const std::string& where);

  bool operator==(const AddedTokenFinder& other) const { return tokens_ == other.tokens_; }

  // Calls on_piece(Piece) for the pieces of `text`, first to last, none of them empty text; a false from it
  // ends the search. The leftmost token counts, of those the longest. Time is linear in the text.
  template <typename OnPiece>
  bool for_each_piece(std::string_view text, const OnPiece& on_piece) const {
    State state;
    while (state.scan < text.size()) {
      const Match match = next_match(text, state);
      if (match.token == nullptr) break;
      if (state.done < match.begin &&
          !on_piece(Piece{text.substr(state.done, match.begin - state.done), -1})) {
        return false;
      }
      if (!on_piece(Piece{text.substr(match.begin, match.end - match.begin), match.token->id})) return false;
      state.done = match.end;
    }
    return state.done >= text.size() || on_piece(Piece{text.substr(state.done), -1});
  }

 private:
  struct State {
    std::size_t scan = 0;       // where to look for the next token
    std::size_t done = 0;       // pieces up to here were handed out
    std::size_t space_end = 0;  // end of the run of white space that was last walked through
  };
  struct Match {
    const AddedToken* token = nullptr;
    std::size_t begin = 0, end = 0;
  };
  Match next_match(std::string_view text, State& state) const;

  std::vector<AddedToken> tokens_;
  PieceTrie trie_;
};

}  // namespace darkroom
