#include "grader/judge.h"

#include <algorithm>
#include <cmath>

namespace darkroom::grader {
namespace {

template <typename Named>
std::string name_or_unclear(const std::optional<Named>& value) {
  return std::string(value ? name_of(*value) : "unclear");
}

// How the first lies to the second, as the relations say it or its reverse. In fractions of width and height,
// as scenes are made: along the relation they are 0.42 to 0.54 apart, across at most 0.12.
std::string relation_seen(const FoundShape& first, const FoundShape& second) {
  constexpr double kLeastApart = 0.1;
  const double dx = second.x - first.x, dy = second.y - first.y;
  if (std::max(std::abs(dx), std::abs(dy)) < kLeastApart) return "unclear";
  if (std::abs(dx) > std::abs(dy)) return dx > 0 ? "left of" : "right of";
  return dy > 0 ? "above" : "below";
}

Judgement relation_judged(Relation claimed, const FoundShape* first, const FoundShape* second) {
  Judgement out = {ClaimType::kRelation, -1, std::string(name_of(claimed)), "nothing", false};
  if (first == nullptr || second == nullptr) return out;
  out.seen = relation_seen(*first, *second);
  const bool beside = out.seen == "left of" || out.seen == "right of";
  out.holds = claimed == Relation::kNextTo ? beside : out.seen == name_of(claimed);
  return out;
}

// The claims about one shape; `shape` is null when the picture has none for it.
void judge_shape(const ShapeClaim& claim, int index, const FoundShape* shape, std::vector<Judgement>& out) {
  const auto add = [&](ClaimType type, std::string_view expected, const auto& seen_of) {
    const std::string seen = shape ? seen_of(*shape) : "nothing";
    out.push_back({type, index, std::string(expected), seen, seen == expected});
  };
  add(ClaimType::kColour, name_of(claim.colour),
      [](const FoundShape& s) { return name_or_unclear(s.colour); });
  add(ClaimType::kKind, name_of(claim.kind), [](const FoundShape& s) { return name_or_unclear(s.kind); });
  if (claim.size) {
    add(ClaimType::kSize, name_of(*claim.size),
        [](const FoundShape& s) { return std::string(name_of(size_of(s.radius))); });
  }
  if (claim.place) {
    add(ClaimType::kPlace, name_of(*claim.place),
        [](const FoundShape& s) { return std::string(name_of(place_of(s.x, s.y))); });
  }
}

// The claims that depend on which shape of the picture is meant by which of the caption.
std::vector<Judgement> judge_shapes(const Caption& caption, const Found& found,
                                    const std::vector<int>& meant) {
  const auto shape = [&](std::size_t i) {
    return meant[i] < 0 ? nullptr : &found.shapes[static_cast<std::size_t>(meant[i])];
  };
  std::vector<Judgement> out;
  for (std::size_t i = 0; i < caption.shapes.size(); ++i) {
    judge_shape(caption.shapes[i], static_cast<int>(i), shape(i), out);
  }
  if (caption.relation) out.push_back(relation_judged(*caption.relation, shape(0), shape(1)));
  return out;
}

// Every way to give the caption's shapes different ones of the picture, the larger ones first. -1 (none) only
// where the picture has too few.
std::vector<std::vector<int>> ways_to_mean(const Caption& caption, const Found& found) {
  const int seen = static_cast<int>(found.shapes.size());
  if (caption.shapes.size() == 1) {
    std::vector<std::vector<int>> ways;
    for (int i = 0; i < seen; ++i) ways.push_back({i});
    return seen > 0 ? ways : std::vector<std::vector<int>>{{-1}};
  }
  if (seen == 0) return {{-1, -1}};
  if (seen == 1) return {{0, -1}, {-1, 0}};
  std::vector<std::vector<int>> ways;
  for (int larger = 0; larger < seen; ++larger) {
    for (int other = 0; other < larger; ++other) {
      ways.push_back({other, larger});
      ways.push_back({larger, other});
    }
  }
  return ways;
}

}  // namespace

Verdict judge(const Caption& caption, const Found& found) {
  std::vector<Judgement> best;
  Verdict verdict;
  std::ptrdiff_t most = -1;
  for (const std::vector<int>& meant : ways_to_mean(caption, found)) {
    std::vector<Judgement> claims = judge_shapes(caption, found, meant);
    const std::ptrdiff_t holding = std::ranges::count(claims, true, &Judgement::holds);
    if (holding <= most) continue;
    most = holding;
    best = std::move(claims);
    verdict.shape_of_claim = meant;
  }
  const std::string background = name_or_unclear(found.background);
  verdict.claims.push_back({ClaimType::kBackground, -1, std::string(name_of(caption.background)), background,
                            background == name_of(caption.background)});
  const std::string expected = std::to_string(caption.shapes.size()),
                    seen = std::to_string(found.shapes.size());
  verdict.claims.push_back({ClaimType::kCount, -1, expected, seen, expected == seen});
  std::ranges::stable_sort(best, {}, &Judgement::type);
  verdict.claims.insert(verdict.claims.end(), best.begin(), best.end());
  verdict.holds = std::ranges::all_of(verdict.claims, &Judgement::holds);
  return verdict;
}

}  // namespace darkroom::grader
