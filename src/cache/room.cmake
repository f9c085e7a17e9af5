darkroom_room(cache SOURCES disk_cache.cc DEPS base)
