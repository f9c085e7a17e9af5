darkroom_room(nn SOURCES modules.cc DEPS ops weights)
