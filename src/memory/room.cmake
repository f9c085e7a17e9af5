darkroom_room(memory SOURCES budget.cc peak.cc placement.cc residency.cc DEPS weights ops)
