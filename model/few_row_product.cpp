#include "model/few_row_product.h"

namespace retrosim {

FewRowCut few_row_cut(std::int64_t n, std::int64_t k) {
  const std::int64_t columns = (k + kFewRowStageColumns - 1) / kFewRowStageColumns;
  FewRowCut cut{.tiles = (n + 15) / 16};
  cut.splits = (columns + kFewRowMaxStages - 1) / kFewRowMaxStages;
  cut.stages = (columns + cut.splits - 1) / cut.splits;
  return cut;
}

}  // namespace retrosim
