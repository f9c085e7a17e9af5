# The library that programs link: libdarkroom, with include/ as its only public header folder.
darkroom_room(api SOURCES api.cc DEPS pipeline backends bench)
target_include_directories(darkroom_api PUBLIC ${PROJECT_SOURCE_DIR}/include)
add_library(darkroom INTERFACE)
target_include_directories(darkroom INTERFACE ${PROJECT_SOURCE_DIR}/include)
target_link_libraries(darkroom INTERFACE $<LINK_ONLY:darkroom_api>)
