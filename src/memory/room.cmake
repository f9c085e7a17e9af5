darkroom_room(memory SOURCES budget.cc placement.cc residency.cc DEPS weights)
