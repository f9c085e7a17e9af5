darkroom_room(options SOURCES option.cc request_json.cc DEPS base)
