// Every function of Backend that computes, with its arguments, for backends around another. A new one makes these
// abstract until it is listed here.
#pragma once

#define DARKROOM_BACKEND_FUNCTIONS(F)        \
  F(linear, LinearArgs)                      \
  F(quantize_rows, QuantizeRowsArgs)         \
  F(layer_norm, LayerNormArgs)               \
  F(norm_modulate, NormModulateArgs)         \
  F(rms_norm, RmsNormArgs)                   \
  F(qk_norm_rope, QkNormRopeArgs)            \
  F(attention, AttentionArgs)                \
  F(gated_gelu, GatedGeluArgs)               \
  F(add, AddArgs)                            \
  F(row_distances, RowDistancesArgs)         \
  F(column_magnitudes, ColumnMagnitudesArgs) \
  F(activate, ActivateArgs)                  \
  F(embed, EmbedArgs)                        \
  F(row_moments, RowMomentsArgs)             \
  F(group_statistics, GroupStatisticsArgs)   \
  F(group_norm, GroupNormArgs)               \
  F(conv2d, Conv2dArgs)                      \
  F(convert, ConvertArgs)
