darkroom_room(bench
  SOURCES bench.cc plan.cc work.cc machine.cc meter.cc operands.cc op_rows.cc model_rows.cc budget_rows.cc
  DEPS backends models pipeline)
