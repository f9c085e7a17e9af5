darkroom_room(calibrate SOURCES rules.cc salience.cc calibrate.cc DEPS pipeline checkpoint models weights options ops)
