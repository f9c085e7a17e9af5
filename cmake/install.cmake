# cmake --install build --prefix PREFIX. The program finds share/darkroom beside its own folder, so the prefix can be
# moved. tests/install uses what lands there.
install(TARGETS darkroom_program RUNTIME DESTINATION bin)
install(TARGETS darkroom_shared LIBRARY DESTINATION lib)
install(FILES include/darkroom/darkroom.h DESTINATION include/darkroom)
configure_file(cmake/darkroom.pc.in darkroom.pc @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/darkroom.pc" DESTINATION lib/pkgconfig)
# The models that come with darkroom. Parts that they share are symbolic links, and stay links.
install(DIRECTORY assets/ DESTINATION share/darkroom OPTIONAL)
install(FILES LICENSE DESTINATION share/doc/darkroom)
