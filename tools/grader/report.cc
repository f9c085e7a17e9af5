#include "grader/report.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace darkroom::grader {
namespace {

using Json = nlohmann::ordered_json;

// Four digits behind the point: a hundredth of a pixel, and files that people read.
double rounded(double x) { return std::round(x * 1e4) / 1e4; }

template <typename Named>
Json name_json(const std::optional<Named>& value) {
  return value ? Json(name_of(*value)) : Json("unclear");
}

Json rgb_json(Rgb rgb) { return Json::array({rgb.r, rgb.g, rgb.b}); }

Json claim_json(const Judgement& claim) {
  Json out = {{"claim", name_of(claim.type)}};
  if (claim.shape >= 0) out["shape"] = claim.shape + 1;
  out["expected"] = claim.expected;
  out["seen"] = claim.seen;
  out["holds"] = claim.holds;
  return out;
}

Json shape_json(const FoundShape& shape) {
  return {{"kind", name_json(shape.kind)},
          {"colour", name_json(shape.colour)},
          {"rgb", rgb_json(shape.rgb)},
          {"x", rounded(shape.x)},
          {"y", rounded(shape.y)},
          {"radius", rounded(shape.radius)},
          {"area", rounded(shape.area)},
          {"outline_error", rounded(shape.outline_error)},
          {"confidence", rounded(shape.confidence)},
          {"overlap", rounded(shape.fit.overlap)},
          {"runner_up", name_of(shape.fit.runner_up)},
          {"runner_up_overlap", rounded(shape.fit.runner_up_overlap)}};
}

}  // namespace

Json to_json(const Grade& grade) {
  Json claims = Json::array(), shapes = Json::array();
  for (const Judgement& claim : grade.verdict.claims) claims.push_back(claim_json(claim));
  for (const FoundShape& shape : grade.found.shapes) shapes.push_back(shape_json(shape));
  const Found& found = grade.found;
  return {{"caption", grade.caption},
          {"holds", grade.verdict.holds},
          {"claims", claims},
          {"width", found.width},
          {"height", found.height},
          {"background", {{"colour", name_json(found.background)}, {"rgb", rgb_json(found.background_rgb)}}},
          {"shapes", shapes},
          {"noise", {{"pieces", found.noise_pieces}, {"area", rounded(found.noise_area)}}}};
}

void Summary::add(const Grade& grade) {
  (grade.claims.shapes.size() == 1 ? single_ : pair_).add(grade.verdict.holds);
  for (const Judgement& claim : grade.verdict.claims) {
    const std::size_t type = static_cast<std::size_t>(claim.type);
    claims_[type].add(claim.holds);
    ++confusion_[type][claim.expected][claim.seen];
  }
}

Json Summary::Share::json() const {
  return {{"of", of},
          {"right", right},
          {"share", of > 0 ? Json(rounded(static_cast<double>(right) / of)) : Json()}};
}

Json Summary::json() const {
  const Share all = {single_.of + pair_.of, single_.right + pair_.right};
  Json claims, confusion;
  for (std::size_t type = 0; type < claims_.size(); ++type) {
    const std::string name(kClaimTypeNames[type]);
    claims[name] = claims_[type].json();
    confusion[name] = Json::object();
    for (const auto& [expected, seen] : confusion_[type]) confusion[name][expected] = seen;
  }
  return {{"pictures", all.of},   {"all_right", all.json()}, {"single", single_.json()},
          {"pair", pair_.json()}, {"claims", claims},        {"confusion", confusion}};
}

}  // namespace darkroom::grader
